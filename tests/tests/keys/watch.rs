//! Secrets, every text in which they could be betrayed, and which types were looked at.

use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Debug;
use std::fs;
use std::path::Path;

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};

pub(crate) struct Watch {
    needles: BTreeSet<String>,
    /// The types that were shown, as `crate::Type`.
    pub(crate) shown: BTreeSet<String>,
    /// How many errors were read.
    pub(crate) told: usize,
    /// What was shown that should not be, and what was no error.
    pub(crate) problems: Vec<String>,
}

impl Watch {
    pub(crate) fn of(secrets: &[&[u8]]) -> Self {
        let mut needles = BTreeSet::new();
        for secret in secrets {
            // Any four octets in a row, as `Debug` of a slice writes them, or eight in hexadecimal.
            for four in secret.windows(4) {
                needles.insert(decimal(four));
            }
            for eight in secret.windows(8) {
                needles.extend([hex(eight), hex(eight).to_ascii_uppercase()]);
                needles.extend(std::str::from_utf8(eight).map(str::to_owned));
            }
            // Nine are twelve characters of base64, wherever in a text they stand.
            for nine in secret.windows(9) {
                needles.insert(Base64Unpadded::encode_string(nine));
                needles.insert(Base64UrlUnpadded::encode_string(nine));
            }
        }
        Self {
            needles,
            shown: BTreeSet::new(),
            told: 0,
            problems: Vec::new(),
        }
    }

    /// What of the secrets is in the text.
    pub(crate) fn find(&self, text: &str) -> Option<&String> {
        self.needles.iter().find(|needle| text.contains(*needle))
    }

    /// Looks at a value, both ways of `Debug`.
    pub(crate) fn look<T: Debug>(&mut self, value: &T) {
        let name = short(std::any::type_name::<T>());
        println!("{name}: {value:?}");
        // One per line, when written over several.
        let alternate = format!("{value:#?}").replace(",\n", ", ");
        let words: Vec<&str> = alternate.split_whitespace().collect();
        for text in [format!("{value:?}"), words.join(" ")] {
            if let Some(found) = self.find(&text) {
                self.problems.push(format!("{name} shows {found}"));
            }
        }
        self.shown.insert(name);
    }

    /// What was refused, and why.
    pub(crate) fn refused<T, E: Error + 'static>(&mut self, result: Result<T, E>) {
        match result {
            Ok(_) => {
                let name = std::any::type_name::<T>();
                self.problems
                    .push(format!("{name} after {} errors", self.told));
            }
            Err(error) => self.read(&error),
        }
    }

    /// Reads an error as a person does, with its causes, and as a log writes it.
    pub(crate) fn read(&mut self, error: &(dyn Error + 'static)) {
        let mut text = format!("{error:?} {error:#?}\n{error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(&format!("\n{error}"));
            cause = error.source();
        }
        println!("{text}");
        if let Some(found) = self.find(&text) {
            self.problems
                .push(format!("an error shows {found}: {text}"));
        }
        self.told += 1;
    }
}

pub(crate) fn decimal(octets: &[u8]) -> String {
    let list: Vec<String> = octets.iter().map(u8::to_string).collect();
    list.join(", ")
}

pub(crate) fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// `crate::Type` of the whole path of a type.
fn short(path: &str) -> String {
    let path = path.trim_start_matches('&');
    let path = path.split('<').next().unwrap_or(path);
    let home = path.split("::").next().unwrap_or(path);
    format!("{home}::{}", path.rsplit("::").next().unwrap_or(path))
}

/// Every type of our crates whose `Debug` was written by hand, as `crate::Type`.
pub(crate) fn by_hand() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let mut found = BTreeSet::new();
    for folder in fs::read_dir(crates).unwrap() {
        let folder = folder.unwrap();
        let name = folder.file_name().into_string().unwrap().replace('-', "_");
        let name = match name.as_str() {
            "certwright" => name,
            _ => format!("certwright_{name}"),
        };
        let mut types = BTreeSet::new();
        sources(&folder.path().join("src"), &mut types);
        found.extend(types.into_iter().map(|one| format!("{name}::{one}")));
    }
    found
}

fn sources(directory: &Path, types: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, types);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            let words: Vec<&str> = code.flat_map(str::split_whitespace).collect();
            for three in words.windows(3) {
                if three[0].ends_with("Debug") && three[1] == "for" {
                    let end = |c: char| !(c.is_alphanumeric() || c == '_' || c == ':');
                    let path = three[2].split(end).next().unwrap_or_default();
                    types.extend(path.rsplit("::").next().map(str::to_owned));
                }
            }
        }
    }
}
