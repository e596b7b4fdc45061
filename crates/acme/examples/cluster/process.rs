//! Processes of replicas, and what they say.

use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// A line one of them said, and when.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub(crate) at: Instant,
    pub(crate) who: String,
    pub(crate) line: String,
}

/// Hears all of them.
pub(crate) struct Ear {
    sender: Sender<Said>,
    receiver: Receiver<Said>,
    /// Everything that was said.
    pub(crate) heard: Vec<Said>,
}

impl Ear {
    pub(crate) fn new() -> Self {
        let (sender, receiver) = channel();
        let heard = Vec::new();
        Self {
            sender,
            receiver,
            heard,
        }
    }

    /// Waits until somebody says this, from now on; `None` if nobody does in time.
    pub(crate) fn wait(
        &mut self,
        patience: Duration,
        mut is: impl FnMut(&Said) -> bool,
    ) -> Option<Said> {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let said = self.receiver.recv_timeout(left).ok()?;
            self.heard.push(said.clone());
            if is(&said) {
                return Some(said);
            }
        }
    }
}

/// A running replica; killed when dropped.
pub(crate) struct Process {
    pub(crate) name: String,
    /// Where it answers HTTP-01.
    pub(crate) port: u16,
    child: Child,
    input: ChildStdin,
}

impl Process {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(mut command: Command, name: &str, ear: &mut Ear) -> io::Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.env("REPLICA_OWNER", name).spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("no pipes"));
        };
        let (sender, who) = (ear.sender.clone(), name.to_owned());
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let (at, who) = (Instant::now(), who.clone());
                if sender.send(Said { at, who, line }).is_err() {
                    return;
                }
            }
        });
        let mut process = Self {
            name: name.to_owned(),
            port: 0,
            child,
            input,
        };
        let listens = |said: &Said| said.who == name && said.line.starts_with("PORT ");
        let said = ear.wait(Duration::from_secs(60), listens);
        let port = said.and_then(|said| said.line.strip_prefix("PORT ")?.parse().ok());
        process.port = port.ok_or_else(|| io::Error::other(format!("{name} does not start")))?;
        Ok(process)
    }

    /// Tells it something, such as `want www.example.org`.
    pub(crate) fn tell(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")?;
        self.input.flush()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Any other signal, such as `STOP`.
    pub(crate) fn signal(&self, signal: &str) -> io::Result<()> {
        let mut kill = Command::new("sh");
        kill.args(["-c", &format!("kill -{signal} {}", self.child.id())]);
        match kill.status()?.success() {
            true => Ok(()),
            false => Err(io::Error::other(format!("{} is gone", self.name))),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
