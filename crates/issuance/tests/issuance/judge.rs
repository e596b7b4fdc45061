//! Programs of other people that judge what we make.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A program that was found.
pub(crate) struct Judge {
    program: PathBuf,
}

impl Judge {
    /// The program named by the environment variable, or else found in PATH. A missing one is
    /// reported, and fails the test where `CI` is `true`.
    pub(crate) fn find(variable: &str, name: &str) -> Option<Self> {
        let given = std::env::var_os(variable).map(PathBuf::from);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = given.or_else(|| {
            std::env::split_paths(&path)
                .map(|folder| folder.join(name))
                .find(|file| file.is_file())
        });
        if found.is_none() {
            let ci = std::env::var("CI").is_ok_and(|value| value == "true");
            let text = format!("{name} is missing: install it, or point {variable} at it");
            assert!(!ci, "{text}");
            println!("SKIPPED: {text}");
        }
        Some(Self { program: found? })
    }

    pub(crate) fn openssl() -> Option<Self> {
        Self::find("OPENSSL", "openssl")
    }

    /// A program beside this one.
    pub(crate) fn sibling(&self, name: &str) -> Self {
        Self {
            program: self.program.with_file_name(name),
        }
    }

    pub(crate) fn run(&self, arguments: &[&str], folder: &Path) -> Output {
        Command::new(&self.program)
            .args(arguments)
            .current_dir(folder)
            .output()
            .unwrap()
    }

    /// Runs the program, which must succeed; its output.
    pub(crate) fn accept(&self, arguments: &[&str], folder: &Path) -> String {
        let output = self.run(arguments, folder);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    }
}
