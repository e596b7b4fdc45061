//! Traefik's flags as a document.

use certwright_cert_model::document::{Entry, Kind, Node};
use certwright_cert_model::violation::Span;

use super::environment::parse_bool;

/// Reads the flags for certificates resolvers and the addresses of entry points out of a command line;
/// other arguments are passed over.
///
/// Names are spelt in any case, `--name=value` and `--name value` are the same, a switch needs no value,
/// values of a list are joined with commas or given by repeating the flag. In the document, the
/// line of a value is the position of its argument, from 1.
///
/// # Errors
///
/// [`FlagError`]: a flag without its value, or two that contradict each other.
pub fn flags<S: AsRef<str>>(arguments: impl IntoIterator<Item = S>) -> Result<Node, FlagError> {
    let start = Span { line: 1, column: 1 };
    let mut root = Node::new(Kind::Map(Vec::new()), start);
    let mut arguments = arguments.into_iter().zip(1..).peekable();
    while let Some((argument, line)) = arguments.next() {
        let argument = argument.as_ref();
        let Some(flag) = argument.strip_prefix("--").or(argument.strip_prefix('-')) else {
            continue;
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (flag, None),
        };
        let Some((path, shape)) = path(name)? else {
            continue;
        };
        let kind = match (value, shape) {
            (Some(value), shape) => (shape.read(value), line),
            (None, Shape::Bool | Shape::Section) => (Kind::Bool(true), line),
            (None, shape) => {
                let next = arguments.next_if(|(next, _)| !next.as_ref().starts_with('-'));
                let (next, line) = next.ok_or_else(|| FlagError::NoValue {
                    flag: name.to_owned(),
                })?;
                (shape.read(next.as_ref()), line)
            }
        };
        let (kind, value_line) = kind;
        let inline = value.is_some();
        let column = match inline {
            true => argument.chars().count() - value.unwrap_or_default().chars().count() + 1,
            false => 1,
        };
        let span = Span {
            line: value_line,
            column,
        };
        let key = Span { line, column: 1 };
        insert(&mut root, &path, Node::new(kind, span), key).map_err(|problem| match problem {
            Problem::Index => FlagError::Index {
                flag: name.to_owned(),
            },
            Problem::Twice => FlagError::Twice {
                flag: name.to_owned(),
            },
        })?;
    }
    Ok(root)
}

/// One step of a flag's name.
enum Step {
    Field(String),
    Index(usize),
}

/// What an option's value is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Bool,
    Int,
    List,
    /// A map that may be switched on as a whole.
    Section,
    Text,
}

impl Shape {
    /// The value of this shape; a text that is none stays one, for the decoder to report.
    fn read(self, text: &str) -> Kind {
        let typed = match self {
            Self::Bool | Self::Section => parse_bool(text).map(Kind::Bool),
            Self::Int => text.parse().ok().map(Kind::Int),
            Self::List => {
                let span = Span { line: 1, column: 1 };
                let elements = text
                    .split(',')
                    .map(|text| Node::new(Kind::Text(text.to_owned()), span));
                Some(Kind::List(elements.collect()))
            }
            Self::Text => None,
        };
        typed.unwrap_or_else(|| Kind::Text(text.to_owned()))
    }
}

/// Every option by its name; no name means two things.
const OPTIONS: [(&str, Shape); 38] = [
    ("acme", Shape::Section),
    ("address", Shape::Text),
    ("caCertificates", Shape::List),
    ("caServer", Shape::Text),
    ("caServerName", Shape::Text),
    ("caSystemCertPool", Shape::Bool),
    ("certificatePerName", Shape::Bool),
    ("certificateTimeout", Shape::Text),
    ("certificatesDuration", Shape::Int),
    ("clientResponseHeaderTimeout", Shape::Text),
    ("clientTimeout", Shape::Text),
    ("delay", Shape::Text),
    ("delayBeforeCheck", Shape::Text),
    ("delayBeforeChecks", Shape::Text),
    ("disableANSChecks", Shape::Bool),
    ("disableCNAMESupport", Shape::Bool),
    ("disableChecks", Shape::Bool),
    ("disableCommonName", Shape::Bool),
    ("disablePropagationCheck", Shape::Bool),
    ("dnsChallenge", Shape::Section),
    ("eab", Shape::Section),
    ("email", Shape::Text),
    ("emailAddresses", Shape::List),
    ("entryPoint", Shape::Text),
    ("fallbackIssuers", Shape::List),
    ("hmacEncoded", Shape::Text),
    ("httpChallenge", Shape::Section),
    ("keyType", Shape::Text),
    ("kid", Shape::Text),
    ("preferShortestChain", Shape::Bool),
    ("preferredChain", Shape::Text),
    ("profile", Shape::Text),
    ("propagation", Shape::Section),
    ("provider", Shape::Text),
    ("requireAllRNS", Shape::Bool),
    ("resolvers", Shape::List),
    ("storage", Shape::Text),
    ("tlsChallenge", Shape::Section),
];

/// How many steps a name may have.
const MAX_STEPS: usize = 12;

/// Where a flag's value goes and what it is; `None` for the flags of others.
fn path(name: &str) -> Result<Option<(Vec<Step>, Shape)>, FlagError> {
    let mut segments = name.splitn(MAX_STEPS + 1, '.');
    let first = segments.next().unwrap_or_default();
    let section = ["certificatesResolvers", "entryPoints"]
        .into_iter()
        .find(|section| section.eq_ignore_ascii_case(first));
    let (Some(section), Some(owner)) = (section, segments.next()) else {
        return Ok(None);
    };
    let mut path = vec![
        Step::Field(section.to_owned()),
        Step::Field(owner.to_owned()),
    ];
    let mut shape = Shape::Section;
    for segment in segments {
        let (segment, index) = match segment.strip_suffix(']').and_then(|it| it.split_once('[')) {
            Some((segment, index)) => (segment, Some(index)),
            None => (segment, None),
        };
        let mut options = OPTIONS.iter();
        let known = options.find(|(name, _)| name.eq_ignore_ascii_case(segment));
        shape = known.map_or(Shape::Text, |(_, shape)| *shape);
        path.push(Step::Field(
            known.map_or(segment, |(name, _)| name).to_owned(),
        ));
        if let Some(index) = index {
            let index = index.parse().map_err(|_| FlagError::Index {
                flag: name.to_owned(),
            })?;
            path.push(Step::Index(index));
            shape = Shape::Text;
        }
    }
    let own = match path.as_slice() {
        [_, _, Step::Field(option)] if section == "entryPoints" => option == "address",
        _ => section != "entryPoints",
    };
    Ok(own.then_some((path, shape)))
}

enum Problem {
    Index,
    Twice,
}

fn insert(root: &mut Node, path: &[Step], value: Node, key: Span) -> Result<(), Problem> {
    let mut node = root;
    for step in path {
        node = match step {
            Step::Field(name) => field(node, name, key)?,
            Step::Index(index) => element(node, *index, key)?,
        };
    }
    match (&mut node.kind, value.kind) {
        (Kind::Null, kind) => *node = Node::new(kind, value.span),
        // `--tlschallenge=true` beside `--tlschallenge.delay=5`.
        (Kind::Map(_), Kind::Bool(true)) => {}
        (Kind::List(elements), Kind::List(more)) => elements.extend(more),
        _ => return Err(Problem::Twice),
    }
    Ok(())
}

fn field<'n>(node: &'n mut Node, name: &str, key: Span) -> Result<&'n mut Node, Problem> {
    if matches!(node.kind, Kind::Null | Kind::Bool(true)) {
        *node = Node::new(Kind::Map(Vec::new()), key);
    }
    let Kind::Map(entries) = &mut node.kind else {
        return Err(Problem::Twice);
    };
    let found = entries.iter().position(|entry| entry.key == name);
    let index = found.unwrap_or_else(|| {
        entries.push(Entry::new(name, key, Node::new(Kind::Null, key)));
        entries.len() - 1
    });
    Ok(&mut entries[index].value)
}

fn element(node: &mut Node, index: usize, key: Span) -> Result<&mut Node, Problem> {
    if node.kind == Kind::Null {
        *node = Node::new(Kind::List(Vec::new()), key);
    }
    let Kind::List(elements) = &mut node.kind else {
        return Err(Problem::Twice);
    };
    if index == elements.len() {
        elements.push(Node::new(Kind::Null, key));
    }
    elements.get_mut(index).ok_or(Problem::Index)
}

/// Why flags are no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlagError {
    /// An index that is no number, or not the next one.
    #[error("--{flag}: elements of a list are numbered [0], [1] and so on, in this order")]
    Index {
        /// The flag's name.
        flag: String,
    },
    /// A flag without its value.
    #[error("--{flag} needs a value")]
    NoValue {
        /// The flag's name.
        flag: String,
    },
    /// A flag that is there twice, or both as a value and as a section.
    #[error("--{flag} is set twice; remove one")]
    Twice {
        /// The flag's name.
        flag: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree as one line.
    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Map(entries) => {
                let entries = entries
                    .iter()
                    .map(|it| format!("{}:{}", it.key, show(&it.value)));
                format!("{{{}}}", entries.collect::<Vec<_>>().join(","))
            }
            Kind::List(elements) => {
                let elements: Vec<String> = elements.iter().map(show).collect();
                format!("[{}]", elements.join(","))
            }
            Kind::Text(text) => format!("{text:?}"),
            Kind::Bool(value) => value.to_string(),
            Kind::Int(value) => value.to_string(),
            kind => kind.name().to_owned(),
        }
    }

    #[test]
    fn arguments() {
        const LE: &str = "--certificatesresolvers.le.acme";
        for (arguments, expected) in [
            (&[][..], "{}"),
            (&["traefik", "--log.level=DEBUG", "--api", "-x"], "{}"),
            (
                &["--EMAIL=x"],
                r#"{certificatesResolvers:{le:{acme:{email:"x"}}}}"#,
            ),
            (
                &["-EMAIL", "x"],
                r#"{certificatesResolvers:{le:{acme:{email:"x"}}}}"#,
            ),
            (
                &["--EMAIL=a=b"],
                r#"{certificatesResolvers:{le:{acme:{email:"a=b"}}}}"#,
            ),
            (
                &["--TLS", "--EMAIL=x"],
                r#"{certificatesResolvers:{le:{acme:{tlsChallenge:true,email:"x"}}}}"#,
            ),
            (
                &["--TLS", "--TLS.delay=5"],
                r#"{certificatesResolvers:{le:{acme:{tlsChallenge:{delay:"5"}}}}}"#,
            ),
            (
                &["--TLS.delay=5", "--TLS=true"],
                r#"{certificatesResolvers:{le:{acme:{tlsChallenge:{delay:"5"}}}}}"#,
            ),
            (
                &["--DNS.resolvers=a,b", "--DNS.resolvers=c"],
                r#"{certificatesResolvers:{le:{acme:{dnsChallenge:{resolvers:["a","b","c"]}}}}}"#,
            ),
            (
                &["--DURATION=24"],
                "{certificatesResolvers:{le:{acme:{certificatesDuration:24}}}}",
            ),
            (
                &["--DURATION=x"],
                r#"{certificatesResolvers:{le:{acme:{certificatesDuration:"x"}}}}"#,
            ),
            (
                &["--Nope=x"],
                r#"{certificatesResolvers:{le:{acme:{Nope:"x"}}}}"#,
            ),
            (
                &[
                    "--entrypoints.WEB.Address=:80",
                    "--entrypoints.WEB.http.tls=true",
                    "--entryPoints.x=y",
                ],
                r#"{entryPoints:{WEB:{address:":80"}}}"#,
            ),
        ] {
            let full = |argument: &&str| -> String {
                let mut argument = (*argument).to_owned();
                for (short, long) in [
                    ("EMAIL", "email"),
                    ("TLS", "TLSchallenge"),
                    ("DNS", "dnschallenge"),
                    ("DURATION", "certificatesDuration"),
                    ("Nope", "Nope"),
                ] {
                    argument =
                        argument.replace(&format!("-{short}"), &format!("-{}.{long}", &LE[2..]));
                }
                argument
            };
            let arguments: Vec<String> = arguments.iter().map(full).collect();
            assert_eq!(show(&flags(&arguments).unwrap()), expected, "{arguments:?}");
        }
    }

    #[test]
    fn contradictions() {
        for (arguments, expected) in [
            (
                &["--certificatesresolvers.le.acme.email"][..],
                "--certificatesresolvers.le.acme.email needs a value",
            ),
            (
                &["--certificatesresolvers.le.acme.email", "--api"],
                "--certificatesresolvers.le.acme.email needs a value",
            ),
            (
                &[
                    "--certificatesresolvers.le.acme.email=x",
                    "--certificatesResolvers.le.acme.EMAIL=x",
                ],
                "--certificatesResolvers.le.acme.EMAIL is set twice; remove one",
            ),
            (
                &[
                    "--certificatesresolvers.le.acme.email=x",
                    "--certificatesresolvers.le.acme.email.y=x",
                ],
                "--certificatesresolvers.le.acme.email.y is set twice; remove one",
            ),
            (
                &["--certificatesresolvers.le.acme.fallbackissuers[1].caserver=x"],
                "--certificatesresolvers.le.acme.fallbackissuers[1].caserver: elements of a list are numbered [0], [1] and so on, in this order",
            ),
            (
                &["--certificatesresolvers.le.acme.fallbackissuers[x].caserver=x"],
                "--certificatesresolvers.le.acme.fallbackissuers[x].caserver: elements of a list are numbered [0], [1] and so on, in this order",
            ),
            (
                &[
                    "--certificatesresolvers.le.acme.tlschallenge=false",
                    "--certificatesresolvers.le.acme.tlschallenge.delay=5",
                ],
                "--certificatesresolvers.le.acme.tlschallenge.delay is set twice; remove one",
            ),
        ] {
            assert_eq!(flags(arguments).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn places_are_arguments() {
        let root = flags([
            "traefik",
            "--certificatesresolvers.le.acme.keytype=X",
            "--certificatesresolvers.le.acme.email",
            "x",
        ]);
        let root = root.unwrap();
        let acme = root
            .get("certificatesResolvers")
            .and_then(|it| it.get("le")?.get("acme"))
            .unwrap();
        let place = |name: &str| acme.get(name).unwrap().span.to_string();
        assert_eq!(
            (place("keyType").as_str(), place("email").as_str()),
            ("2:41", "4:1")
        );
    }
}
