//! A folder that a page's commands run in: with both programs on the path, stand-ins for what is not here, and a root of its own for
//! what they read and write at absolute paths.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::pages::ROOT;

/// Folders of the system that a page's commands name: on a stage they are below its root.
const FOLDERS: [&str; 8] = ["/etc/", "/var/", "/tmp/", "/home/", "/usr/", "/opt/", "/Library/", "/diag/"];

pub(crate) struct Stage(tempfile::TempDir);

impl Stage {
    /// With both programs.
    pub(crate) fn new() -> Self {
        let stage = Self::empty();
        for program in [env!("CARGO_BIN_EXE_runner-vitals"), env!("CARGO_BIN_EXE_vitals-hub")] {
            let name = Path::new(program).file_name().unwrap();
            std::os::unix::fs::symlink(program, stage.path("bin").join(name)).unwrap();
        }
        stage
    }

    /// With no program but bash's own.
    pub(crate) fn empty() -> Self {
        let stage = Self(tempfile::tempdir().unwrap());
        for folder in ["bin", "work", "root"] {
            fs::create_dir(stage.path(folder)).unwrap();
        }
        stage
    }

    pub(crate) fn path(&self, of: &str) -> PathBuf {
        self.0.path().join(of)
    }

    /// Where the root has this absolute path; its folder is made.
    pub(crate) fn at_root(&self, path: &str) -> PathBuf {
        let at = self.path(&format!("root{path}"));
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        at
    }

    /// A file in the folder that the commands run in.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let at = self.path("work").join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    /// The repository's own, where the commands run.
    pub(crate) fn link(&self, name: &str) {
        std::os::unix::fs::symlink(Path::new(ROOT).join(name), self.path("work").join(name)).unwrap();
    }

    /// A script, on the path (`bin/NAME`), at the root or among the files. Written by a process of its own: what this one has open for
    /// writing could not be run by another test's child.
    pub(crate) fn script(&self, at: &str, text: &str) {
        let at = self.path(at);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        let mut write = Command::new("sh");
        write
            .args(["-c", "printf '%s\\n' \"$1\" >\"$0\" && chmod 755 \"$0\""])
            .arg(at)
            .arg(format!("#!/bin/bash\n{text}"));
        assert!(write.status().unwrap().success());
    }

    /// A stand-in on the path that writes down how it was called.
    pub(crate) fn stand_in(&self, name: &str) {
        self.script(&format!("bin/{name}"), &self.recorder(name));
    }

    /// What a script does to be written down as `name`.
    pub(crate) fn recorder(&self, name: &str) -> String {
        format!("printf '%s\\0' '{name}' \"$@\" $'\\n' >>'{}'", self.path("called").display())
    }

    /// How stand-ins were called, each with its arguments.
    pub(crate) fn called(&self) -> Vec<Vec<String>> {
        let text = fs::read_to_string(self.path("called")).unwrap_or_default();
        let calls = text.split("\0\n\0").filter(|call| !call.is_empty());
        calls.map(|call| call.split('\0').map(str::to_owned).collect()).collect()
    }

    /// The script with its absolute paths below the stage's root.
    pub(crate) fn rooted(&self, script: &str) -> String {
        // The root is below /tmp itself: it is put in last.
        let marked = FOLDERS.iter().fold(script.to_owned(), |script, folder| {
            [" ", "=", ">", "'", "\"", "\n"].iter().fold(script, |script, before| {
                script.replace(&format!("{before}{folder}"), &format!("{before}\u{1}{folder}"))
            })
        });
        marked.replace('\u{1}', &self.path("root").display().to_string())
    }

    /// bash with the script, not started.
    pub(crate) fn bash(&self, script: &str) -> Command {
        let path = format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap());
        let mut bash = Command::new("timeout");
        #[allow(clippy::disallowed_methods, reason = "to clear the settings of whoever runs the tests")]
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().contains("RUNNER") || name.to_string_lossy().contains("VITALS") {
                bash.env_remove(name);
            }
        }
        let rooted = self.rooted(&format!("\n{script}"));
        bash.args(["60", "bash", "-euo", "pipefail", "-c", &rooted]);
        bash.current_dir(self.path("work")).env("PATH", path).env_remove("NO_PROXY").stdin(Stdio::null());
        bash.stdout(Stdio::piped()).stderr(Stdio::piped());
        bash
    }

    /// Runs it to its end, which has to be a good one.
    pub(crate) fn run(&self, script: &str) -> (String, String) {
        let output = self.bash(script).output().unwrap();
        let (out, log) = texts(&output);
        assert!(output.status.success(), "{script}\n{}\n{out}{log}", output.status);
        (out, log)
    }
}

pub(crate) fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// The commands of a block, one each, without comments: a backslash at the end of a line goes on, and so does a pipe.
pub(crate) fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split(" # ").next().unwrap().split("   #").next().unwrap().trim());
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}
