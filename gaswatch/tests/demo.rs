//! The demo as a newcomer starts it: a poisoning is alarmed, answered and resolved, all through the
//! same doors that real sensors, phones and people use.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

/// Ends the demo whatever happens.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // `timeout` hands this on to the demo
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

#[test]
fn a_poisoning_is_alarmed_answered_and_resolved() {
    let folder = tempfile::tempdir().unwrap();
    let demo = Command::new("timeout")
        .args(["300", env!("CARGO_BIN_EXE_gaswatch")])
        .args(["demo", "--homes", "12", "--speed", "100", "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut demo = Running(demo);
    // the log is the simulated people's own account; it ends if the demo does
    let log = BufReader::new(demo.0.stderr.take().unwrap());
    let mut wanted = ["poisoning began", "SMS to", "acknowledged", "window opened", "resolved"].into_iter().peekable();
    for line in log.lines() {
        let line = line.unwrap();
        assert!(!line.contains("could not"), "{line}");
        if wanted.peek().is_some_and(|wanted| line.contains(wanted)) {
            wanted.next();
        }
        if wanted.peek().is_none() {
            return;
        }
    }
    panic!("the demo ended before {:?}", wanted.next());
}
