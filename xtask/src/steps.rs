//! Steps one after the other, timed, until the first that fails.

use std::fmt::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

type Work = Box<dyn FnOnce() -> anyhow::Result<()>>;

pub(crate) struct Step {
    name: &'static str,
    work: Work,
}

impl Step {
    pub(crate) fn new(name: &'static str, work: impl FnOnce() -> anyhow::Result<()> + 'static) -> Step {
        Step { name, work: Box::new(work) }
    }
}

/// How a step ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Passed(Duration),
    Failed(Duration),
    NotRun,
}

/// Runs `steps` in order and prints how each ended.
///
/// # Errors
/// The first failure, with the step's name; the steps after it are not run.
pub(crate) fn run(steps: Vec<Step>) -> anyhow::Result<()> {
    let mut outcomes = Vec::with_capacity(steps.len());
    let mut failure = None;
    for step in steps {
        if failure.is_some() {
            outcomes.push((step.name, Outcome::NotRun));
            continue;
        }
        say(&format!("\n== {} ==", step.name));
        let started = now();
        let outcome = match (step.work)() {
            Ok(()) => Outcome::Passed(started.elapsed()),
            Err(error) => {
                failure = Some(error.context(format!("step \"{}\" failed", step.name)));
                Outcome::Failed(started.elapsed())
            }
        };
        outcomes.push((step.name, outcome));
    }
    say(&format!("\n{}", table(&outcomes)));
    failure.map_or(Ok(()), Err)
}

fn table(outcomes: &[(&'static str, Outcome)]) -> String {
    let width = outcomes.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut total = Duration::ZERO;
    let mut line = |name: &str, word: &str, took: Option<Duration>| {
        let took = took.map_or_else(|| "-".to_owned(), |took| format!("{:.1} s", took.as_secs_f64()));
        let _ = writeln!(text, "{name:width$}  {word:7}  {took:>9}");
    };
    for (name, outcome) in outcomes {
        match *outcome {
            Outcome::Passed(took) => line(name, "passed", Some(took)),
            Outcome::Failed(took) => line(name, "FAILED", Some(took)),
            Outcome::NotRun => line(name, "not run", None),
        }
        if let Outcome::Passed(took) | Outcome::Failed(took) = *outcome {
            total += took;
        }
    }
    line("total", "", Some(total));
    text
}

/// Runs a command that must succeed; its output goes where ours goes.
///
/// # Errors
/// When it cannot be started or says that it failed.
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("starting {program}"))?;
    if !status.success() {
        bail!("{program} ended with {status}");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a task reports to the terminal")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

#[expect(clippy::disallowed_methods, reason = "a task has no clock to fake: it only tells how long a step took")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn the_first_failure_is_named_and_ends_the_run() {
        let ran = Rc::new(Cell::new(0));
        let counted = |result: fn() -> anyhow::Result<()>| {
            let ran = ran.clone();
            move || {
                ran.set(ran.get() + 1);
                result()
            }
        };
        let steps = vec![
            Step::new("good", counted(|| Ok(()))),
            Step::new("bad", counted(|| bail!("broken"))),
            Step::new("never", counted(|| Ok(()))),
        ];
        let error = run(steps).unwrap_err();
        assert_eq!(format!("{error:#}"), "step \"bad\" failed: broken");
        assert_eq!(ran.get(), 2);
    }

    #[test]
    fn the_table_tells_every_step() {
        let outcomes = [
            ("format", Outcome::Passed(Duration::from_millis(1_250))),
            ("tests", Outcome::Failed(Duration::from_secs(61))),
            ("documentation", Outcome::NotRun),
        ];
        let lines: Vec<String> = table(&outcomes).lines().map(str::to_owned).collect();
        assert_eq!(
            lines,
            [
                "format         passed       1.2 s",
                "tests          FAILED      61.0 s",
                "documentation  not run          -",
                "total                      62.2 s",
            ]
        );
    }

    #[test]
    fn a_command_that_fails_or_is_missing_is_named() {
        succeed(&mut Command::new("true")).unwrap();
        let error = succeed(&mut Command::new("false")).unwrap_err();
        assert!(format!("{error:#}").starts_with("false ended with"), "{error:#}");
        let error = succeed(&mut Command::new("no-such-program-here")).unwrap_err();
        assert!(format!("{error:#}").contains("starting no-such-program-here"), "{error:#}");
    }
}
