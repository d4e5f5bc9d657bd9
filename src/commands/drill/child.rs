//! A program as a child that never outlives us. A shell stands between: it waits for the end of its input, which comes when
//! this process ends, however it ends, and then ends the program; and it ends itself when the program does.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::ExitStatus;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::kill_process_group;
use tokio::process::Command;
use tokio::time::timeout;

/// How long the program may take to end when it is asked to.
const WITHIN: Duration = Duration::from_secs(5);

/// Starts `$0` with the arguments. Its own input is empty: what comes to us on ours is only waited for.
const UNTIL_THE_INPUT_ENDS: &str = "exec 3<&0; \"$0\" \"$@\" </dev/null 3<&- & program=$!; \
     (read -r nothing <&3; kill \"$program\") >/dev/null 2>&1 & waiter=$!; \
     wait \"$program\"; code=$?; kill \"$waiter\" 2>/dev/null; exit \"$code\"";

/// What is started.
#[derive(Debug)]
pub struct Program<'p> {
    /// The program.
    pub path: &'p Path,
    /// Its arguments.
    pub arguments: &'p [OsString],
    /// Its whole environment: nothing of ours goes along, which may configure the program.
    pub variables: &'p [(&'static str, OsString)],
    /// The folder that it runs in.
    pub folder: &'p Path,
    /// Where all that it prints goes.
    pub log: Option<File>,
}

/// A program that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Child {
    shell: tokio::process::Child,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// Where there is no shell, or no room for a process.
    pub fn start(program: Program<'_>) -> io::Result<Self> {
        let outputs = match program.log {
            Some(log) => (Stdio::from(log.try_clone()?), Stdio::from(log)),
            None => (Stdio::null(), Stdio::null()),
        };
        let shell = Command::new("/bin/sh")
            .args(["-c", UNTIL_THE_INPUT_ENDS])
            .arg(program.path)
            .args(program.arguments)
            .env_clear()
            .envs(program.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(program.folder)
            // A Ctrl-C is for this process, which then ends the program in order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(outputs.0)
            .stderr(outputs.1)
            .spawn()?;
        Ok(Self { shell })
    }

    /// How it ended, where it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.shell.try_wait().ok().flatten()
    }

    /// Asks it to end, waits for that, and kills it where that takes too long. Returns when it is gone.
    ///
    /// # Errors
    /// Where it does not go.
    pub async fn stop(mut self) -> io::Result<()> {
        drop(self.shell.stdin.take());
        if let Ok(ended) = timeout(WITHIN, self.shell.wait()).await {
            return ended.map(drop);
        }
        self.kill();
        match timeout(WITHIN, self.shell.wait()).await {
            Ok(ended) => ended.map(drop),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "a child does not end")),
        }
    }

    /// Kills the shell and everything that it started.
    fn kill(&self) {
        if let Some(group) = self.shell.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
            // It may be gone already.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;
    use tokio::time::sleep;

    use super::*;

    fn start(folder: &Path, script: &str) -> Child {
        let arguments = ["-c".into(), script.into()];
        let log = File::create(folder.join("log")).unwrap();
        let path = Path::new("/bin/sh");
        Child::start(Program {
            path,
            arguments: &arguments,
            variables: &[("WORD", "seen".into())],
            folder,
            log: Some(log),
        })
        .unwrap()
    }

    async fn log_when(folder: &Path, wanted: &str) {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let log = std::fs::read_to_string(folder.join("log")).unwrap();
            if log.contains(wanted) {
                return;
            }
            assert!(Instant::now() < until, "{wanted} is not in {log:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn it_ends_when_it_is_asked_to() {
        let folder = tempfile::tempdir().unwrap();
        let child = start(folder.path(), "trap 'echo asked; exit 0' TERM; echo $WORD; while :; do sleep 0.01; done");
        log_when(folder.path(), "seen").await;
        child.stop().await.unwrap();
        log_when(folder.path(), "asked").await;
    }

    #[tokio::test]
    async fn it_is_known_when_it_ends_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = start(folder.path(), "exit 7");
        let until = Instant::now() + Duration::from_secs(10);
        let ended = loop {
            if let Some(ended) = child.ended() {
                break ended;
            }
            assert!(Instant::now() < until, "it does not end");
            sleep(Duration::from_millis(5)).await;
        };
        assert_eq!(ended.code(), Some(7));
    }
}
