//! A client of the emulator's monitor (QMP, "QEMU Machine Protocol" in QEMU's manual).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

/// Longest time for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the monitor.
pub struct Qmp {
    lines: BufReader<UnixStream>,
}

impl Qmp {
    /// Begins to talk.
    ///
    /// # Errors
    /// If the other end is no monitor.
    pub fn new(stream: UnixStream) -> Result<Qmp> {
        stream.set_read_timeout(Some(PATIENCE)).context("cannot wait for the monitor")?;
        let mut qmp = Qmp { lines: BufReader::new(stream) };
        let greeting = qmp.line()?;
        ensure!(greeting.get("QMP").is_some(), "no monitor: {greeting}");
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    fn line(&mut self) -> Result<Value> {
        let mut line = String::new();
        ensure!(self.lines.read_line(&mut line).context("the monitor does not answer")? > 0, "the monitor has hung up");
        serde_json::from_str(&line).with_context(|| format!("the monitor says {line:?}"))
    }

    /// Executes a command; events are passed over.
    ///
    /// # Errors
    /// If the monitor refuses it, or does not answer.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.lines.get_mut().write_all(line.as_bytes()).context("cannot write to the monitor")?;
        loop {
            let mut answer = self.line()?;
            if let Some(error) = answer.get("error") {
                bail!("the emulator refuses {command}: {}", error["desc"].as_str().unwrap_or("it does not say why"));
            }
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
        }
    }

    /// Executes a line of the monitor for people; those used here say nothing unless they fail.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn command(&mut self, line: &str) -> Result<()> {
        let said = self.say(line)?;
        ensure!(said.trim().is_empty(), "the emulator refuses {line:?}: {}", said.trim());
        Ok(())
    }

    /// The same for those that answer.
    ///
    /// # Errors
    /// As [`Qmp::execute`].
    pub fn say(&mut self, line: &str) -> Result<String> {
        let said = self.execute("human-monitor-command", json!({ "command-line": line }))?;
        Ok(said.as_str().unwrap_or_default().to_owned())
    }

    /// Executes a command that starts a job, and waits for the end of that.
    ///
    /// # Errors
    /// If the job fails.
    pub fn job(&mut self, command: &str, mut arguments: Value) -> Result<()> {
        const NAME: &str = "job";
        arguments["job-id"] = NAME.into();
        self.execute(command, arguments)?;
        let late = Instant::now() + PATIENCE;
        loop {
            let jobs = self.execute("query-jobs", json!({}))?;
            let own = jobs.as_array().and_then(|jobs| jobs.iter().find(|job| job["id"] == NAME));
            let own = own.with_context(|| format!("{command} has vanished"))?;
            if own["status"] == "concluded" {
                if let Some(error) = own["error"].as_str() {
                    bail!("{command}: {error}");
                }
                self.execute("job-dismiss", json!({ "id": NAME }))?;
                return Ok(());
            }
            ensure!(Instant::now() < late, "{command} does not come to its end");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn monitor(lines: &str) -> (Qmp, UnixStream) {
        let (near, mut far) = UnixStream::pair().expect("a pair of sockets");
        far.write_all(lines.as_bytes()).expect("room");
        (Qmp { lines: BufReader::new(near) }, far)
    }

    #[test]
    fn answers_are_found_among_events() {
        let (mut qmp, far) = monitor("{\"event\": \"STOP\"}\n{\"return\": {\"icount\": 7}}\n");
        let value = qmp.execute("query-replay", json!({})).expect("an answer");
        assert_eq!(value["icount"], 7);
        let mut sent = String::new();
        BufReader::new(far).read_line(&mut sent).expect("something was sent");
        let sent: Value = serde_json::from_str(&sent).expect("JSON");
        assert_eq!(sent["execute"], "query-replay");
    }

    #[test]
    fn refusals_say_why() {
        let (mut qmp, _far) = monitor("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such drive\"}}\n");
        let error = qmp.execute("cont", json!({})).expect_err("it was refused");
        assert!(error.to_string().contains("no such drive"), "{error}");
        let (mut qmp, _far) = monitor("{\"return\": \"Error: no snapshot\\r\\n\"}\n");
        assert!(qmp.command("loadvm x").is_err_and(|error| error.to_string().contains("no snapshot")));
    }

    #[test]
    fn a_monitor_that_hangs_up_is_an_error() {
        let (mut qmp, far) = monitor("");
        drop(far);
        assert!(qmp.execute("cont", json!({})).is_err());
    }
}
