//! A child that writes lines, ended when it is dropped.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

pub(crate) struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    /// Starts it with stdout a pipe, as in production.
    pub(crate) fn on_a_pipe(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("a child");
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// Starts it with stdout a file.
    pub(crate) fn on_a_file(command: &mut Command, file: File) -> Self {
        let child = command.stdin(Stdio::null()).stdout(file).spawn().expect("a child");
        Self { child, stdout: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line from the pipe.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().expect("a pipe").read_line(&mut line).expect("a line");
        assert!(!line.is_empty(), "the child has ended");
        line
    }

    /// Takes whatever comes from now on, on a thread that ends with the child.
    pub(crate) fn drain(&mut self) {
        let mut stdout = self.stdout.take().expect("a pipe");
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}
