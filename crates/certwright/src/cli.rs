//! The command line: what may be asked for, and how the answer leaves.

mod check;
mod describe;
mod excerpt;
mod explain;
mod forecast;
mod get;
mod import;
mod manual;
mod output;
mod place;
mod plan;
mod renew;
mod run;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::output::{ColorChoice, Output};

/// Keeps certificates issued, renewed and served as manifests ask for.
#[derive(Debug, Parser)]
#[command(
    name = "certwright",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = EXIT_CODES,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Arguments {
    /// Writes JSON: one object, or one per line where things go on.
    #[arg(long, global = true, help_heading = "Options of every command")]
    json: bool,
    /// When to use colours.
    #[arg(
        long,
        global = true,
        help_heading = "Options of every command",
        value_enum,
        value_name = "WHEN",
        default_value_t
    )]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

/// What programs may rely on.
const EXIT_CODES: &str = "\
Exit codes:
  0  done; with check: nothing is wrong
  1  it did not work, and the reason is on standard error; or no:
     with explain, no certificate is for the name
  2  something is wrong with manifests, or with the command line
  3  something needs attention: forecast found certificates that come late or are lost,
     plan --exit-code found something to do";

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Check),
    Run(Box<run::Run>),
    Plan(plan::PlanCommand),
    #[command(subcommand)]
    Get(get::Get),
    #[command(subcommand)]
    Describe(describe::Describe),
    Renew(renew::Renew),
    Explain(explain::Explain),
    Forecast(forecast::Forecast),
    Import(import::Import),
    Completions(manual::Completions),
    Man(manual::Man),
}

/// What every command comes to.
type Answer = Result<Exit, Box<dyn Error>>;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Attention,
    Done,
    No,
    Wrong,
}

/// Runs what the command line asks for.
pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut output = Output::new(arguments.json, arguments.color);
    let answer = match arguments.command {
        Command::Check(command) => command.run(&mut output),
        Command::Run(command) => command.run(&mut output),
        Command::Plan(command) => command.run(&mut output),
        Command::Get(command) => command.run(&mut output),
        Command::Describe(command) => command.run(&mut output),
        Command::Renew(command) => command.run(&mut output),
        Command::Explain(command) => command.run(&mut output),
        Command::Forecast(command) => command.run(&mut output),
        Command::Import(command) => command.run(&mut output),
        Command::Completions(command) => command.run(&mut output),
        Command::Man(command) => command.run(&mut output),
    };
    let answer = answer.and_then(|exit| {
        output.flush()?;
        Ok(exit)
    });
    match answer {
        Ok(Exit::Done) => ExitCode::SUCCESS,
        Ok(Exit::No) => ExitCode::FAILURE,
        Ok(Exit::Wrong) => ExitCode::from(2),
        Ok(Exit::Attention) => ExitCode::from(3),
        // Whoever read the output has seen enough.
        Err(error) if is_broken_pipe(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            output.error(&*error);
            ExitCode::FAILURE
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// An error's text with those of its causes, without control characters.
fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    one_line(&text)
}

/// The same text without what could speak to a terminal or forge another line.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if is_loud(c) => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

/// Whether a character speaks to a terminal, ends a line, or changes the order in which others are shown.
fn is_loud(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
