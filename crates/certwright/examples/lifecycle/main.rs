//! One certificate's whole life: manifests are read and validated, certificates issued, served by SNI, checked by
//! an upstream connection, and renewed under load, with a clock that is moved by hand.
//!
//! ```console
//! $ cargo run --release -p certwright --example lifecycle
//! $ cargo run --release -p certwright --example lifecycle -- my-manifests/ --out secrets/
//! ```
//!
//! Exit code 0: everything happened as it must; 1: something did not; 2: the arguments, the
//! manifests or what is in DIR already are wrong, and nothing was written.

mod clock;
mod input;
mod report;
mod serve;
mod upstream;
mod wire;

use std::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use certwright::{Manager, Outcome, ResourceName, SecretChange, SecretDir};
use certwright_cert_model::TlsSecret;
use certwright_renewal::{Schedule, Timeline};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use time::OffsetDateTime;

use crate::clock::Clock;
use crate::input::Input;
use crate::report::{heading, with_causes};
use crate::serve::Front;

fn main() -> ExitCode {
    let arguments = match Arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\nusage: lifecycle [PATH…] [--out DIR]");
            return ExitCode::from(2);
        }
    };
    match live(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lifecycle: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

struct Arguments {
    paths: Vec<PathBuf>,
    out: PathBuf,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut arguments = Self {
            paths: Vec::new(),
            out: PathBuf::from("target/lifecycle"),
        };
        while let Some(argument) = given.next() {
            match argument.to_str() {
                Some("--out") => {
                    arguments.out = given.next().ok_or("--out needs a directory")?.into();
                }
                Some(option) if option.starts_with('-') => {
                    return Err(format!("unknown option {option}"));
                }
                _ => arguments.paths.push(argument.into()),
            }
        }
        if arguments.paths.is_empty() {
            let manifests = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/manifests");
            let here = std::env::current_dir().unwrap_or_default();
            let short = manifests.strip_prefix(here).unwrap_or(&manifests);
            arguments.paths.push(short.to_owned());
        }
        Ok(arguments)
    }
}

fn live(arguments: &Arguments) -> Result<ExitCode, Box<dyn Error>> {
    let clock = Clock::starting_at(OffsetDateTime::now_utc());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let secrets = SecretDir::new(&arguments.out);

    heading(1, "Manifests");
    let input = input::read(&arguments.paths);
    let inventory = &input.documents.inventory;
    let (files, certificates) = (input.files, inventory.certificates().len());
    let (issuers, transports) = (inventory.issuer_count(), input.transports.len());
    println!(
        "   {files} files: {certificates} Certificates, {issuers} issuers, {transports} ServersTransports"
    );
    for line in input.warnings.iter().map(|w| format!("warning: {w}")) {
        println!("   {line}");
    }
    for line in &input.ignored {
        println!("   not for this program: {line}");
    }
    let Input {
        documents,
        transports,
        mut problems,
        ..
    } = input;
    let (inventory, mut stored) = (documents.inventory, documents.secrets);
    for (name, spec) in inventory.certificates() {
        match secrets.read(&name.namespace, spec.secret_name()) {
            Ok(found) => stored.extend(found),
            Err(error) => problems.push(format!("Certificate {name}: {}", with_causes(&error))),
        }
    }
    let given = |name: &ResourceName| {
        let same = |s: &TlsSecret| (&s.namespace, &s.name) == (&name.namespace, &name.name);
        stored.iter().any(same)
    };
    if let Err(errors) = inventory.order(given) {
        problems.extend(errors.iter().map(ToString::to_string));
    }
    if !problems.is_empty() {
        for problem in &problems {
            eprintln!("   {problem}");
        }
        eprintln!("   {} problems; nothing was written", problems.len());
        return Ok(ExitCode::from(2));
    }
    let mut manager = Manager::new(inventory, stored);
    println!("   all valid");

    heading(2, "Certificates");
    issue(&mut manager, &clock, &secrets)?;
    report::certificates(&manager, clock.now());
    report::issuers(&mut manager, clock.now());

    heading(3, "Served by name");
    let front = Front::start(&manager, &clock, &provider)?;
    front.tour(&manager)?;

    heading(4, "Upstream");
    let mut surprises = Vec::new();
    if transports.is_empty() {
        println!("   no ServersTransport in the manifests");
    } else {
        surprises.extend(upstream::tour(&manager, &transports, &clock, &provider)?);
    }

    heading(5, "Renewal under load");
    let pictures = timeline(&manager, clock.now());
    let config = front.client(&manager)?;
    // Who serves no name is not waited for.
    let handshakes = if front.has_names() { HANDSHAKES } else { 0 };
    let (lived, succeeded, failed) =
        front.under_load(&config, |load| -> Result<Lived, Box<dyn Error>> {
            let mut lived = Lived::default();
            load.wait_for_more(handshakes);
            while let Some(due) = manager.next_wake().filter(|due| *due < pictures.until) {
                clock.set(due);
                for (name, outcome) in manager.reconcile(due) {
                    match outcome {
                        Outcome::Issued { .. } => lived.issued += 1,
                        // It is told above, and tried again; the others live on.
                        Outcome::Failed { error, .. } if manager.secret_of(&name).is_some() => {
                            return Err(format!("{name}: {}", with_causes(&error)).into());
                        }
                        _ => {}
                    }
                }
                front.publish(&manager)?;
                lived.wakes += 1;
                load.wait_for_more(handshakes);
            }
            Ok(lived)
        });
    let lived = lived?;
    let (days, failures) = ((pictures.until - pictures.start).whole_days(), failed.len());
    println!(
        "   {days} days in {} wake-ups: {} certificates issued and swapped in",
        lived.wakes, lived.issued
    );
    println!(
        "   {} handshakes meanwhile, {failures} failed",
        succeeded + failures
    );
    surprises.extend(failed);

    heading(6, "Files");
    let svg = arguments.out.join("timeline.svg");
    std::fs::write(&svg, &pictures.svg)?;
    files_written(&manager, &secrets)?;
    println!("   {}", svg.display());

    for surprise in &surprises {
        eprintln!("unexpected: {surprise}");
    }
    Ok(if surprises.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How many handshakes of each thread must come to an end between two renewals.
const HANDSHAKES: usize = 3;

#[derive(Default)]
struct Lived {
    wakes: usize,
    issued: usize,
}

/// Issues whatever is missing or due, shows how far it got, and writes each Secret as it comes.
fn issue(manager: &mut Manager, clock: &Clock, secrets: &SecretDir) -> Result<(), Box<dyn Error>> {
    let order = manager.order().to_vec();
    // The bar appears when there is somebody to see it.
    let bar = ProgressBar::with_draw_target(Some(order.len() as u64), ProgressDrawTarget::stderr());
    bar.set_style(ProgressStyle::with_template(
        "   {bar:30} {pos}/{len} {msg}",
    )?);
    for name in &order {
        bar.set_message(name.to_string());
        match manager.step(name, clock.now()) {
            Some(Outcome::Issued { warnings, .. }) => {
                for warning in warnings {
                    bar.suspend(|| println!("   warning: {name}: {warning}"));
                }
            }
            // One that cannot be issued holds up no other.
            Some(Outcome::Failed { error, .. }) => {
                bar.suspend(|| println!("   not issued: {name}: {}", with_causes(&error)));
            }
            Some(Outcome::Blocked(blocked)) => {
                bar.suspend(|| println!("   not issued: {name}: {blocked}"));
            }
            _ => {}
        }
        for change in manager.take_changes() {
            if let SecretChange::Put(secret) = change {
                secrets.write(&secret)?;
            }
        }
        // One that a manifest gives is not in the directory yet.
        if let Some(secret) = manager.secret_of(name)
            && secrets.read(&secret.namespace, &secret.name)?.is_none()
        {
            secrets.write(secret)?;
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(())
}

/// The story's span, and a picture of the first server certificate's life.
struct Pictures {
    start: OffsetDateTime,
    until: OffsetDateTime,
    svg: String,
}

/// Long enough for every certificate but the CAs' to be renewed, within 100 days.
fn timeline(manager: &Manager, now: OffsetDateTime) -> Pictures {
    let leaves = manager
        .inventory()
        .certificates()
        .filter(|(_, spec)| !spec.is_ca());
    let schedules: Vec<_> = leaves
        .filter_map(|(name, _)| manager.schedule(name, now))
        .collect();
    let last = schedules.iter().map(Schedule::due).max().unwrap_or(now);
    let longest = schedules.iter().max_by_key(|schedule| schedule.due());
    Pictures {
        start: now,
        // What a CA with a new key signs follows a minute later, when its anchor is known.
        until: last.min(now + time::Duration::days(100)) + time::Duration::minutes(2),
        svg: longest.map_or(String::new(), |schedule| {
            Timeline::new(*schedule).now(now).svg()
        }),
    }
}

/// Lists what was written, and how to check it.
fn files_written(manager: &Manager, secrets: &SecretDir) -> Result<(), Box<dyn Error>> {
    let mut check = None;
    for (name, spec) in manager.inventory().certificates() {
        let Some(secret) = manager.secret_of(name) else {
            continue;
        };
        let path = secrets.path(&name.namespace, spec.secret_name())?;
        let keys: Vec<_> = secret.data().map(|(key, _)| key).collect();
        println!("   {}/{{{}}}", path.display(), keys.join(","));
        if !spec.is_ca() {
            check = Some(path);
        }
    }
    if let Some(path) = check {
        let path = path.display();
        println!(
            "   check one: openssl verify -x509_strict -CAfile {path}/ca.crt -untrusted {path}/tls.crt {path}/tls.crt"
        );
    }
    Ok(())
}
