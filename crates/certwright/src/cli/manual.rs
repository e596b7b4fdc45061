//! `completions` and `man`: what shells and `man` want to know about the command line.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man as Page;

use super::output::Output;
use super::{Answer, Arguments, Exit};

/// Writes the completions of a shell.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// Which shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let mut text = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "certwright",
            &mut text,
        );
        output.text(&String::from_utf8_lossy(&text))?;
        Ok(Exit::Done)
    }
}

/// `help COMMAND` shows the pages there are, and needs none of its own.
fn without_help(command: Command) -> Command {
    let names: Vec<String> = command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    let command = command.disable_help_subcommand(true);
    names.into_iter().fold(command, |command, name| {
        command.mut_subcommand(name, without_help)
    })
}

/// Writes the manual page, or one page for each command into a directory.
#[derive(Args, Debug)]
pub(crate) struct Man {
    /// Where pages are written.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self, output: &mut Output) -> Answer {
        let mut command = without_help(Arguments::command());
        command.build();
        match self.dir {
            Some(dir) => {
                std::fs::create_dir_all(&dir)
                    .and_then(|()| clap_mangen::generate_to(command, &dir))
                    .map_err(|error| format!("cannot write {}: {error}", dir.display()))?;
            }
            None => {
                let mut text = Vec::new();
                Page::new(command).render(&mut text)?;
                output.text(&String::from_utf8_lossy(&text))?;
            }
        }
        Ok(Exit::Done)
    }
}
