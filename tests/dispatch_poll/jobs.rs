//! The job: what it gets, and how it ends.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::dispatcher::{Answer, Dispatcher};
use crate::stage::Stage;

fn one_job(body: &str) -> Dispatcher {
    Dispatcher::of(vec![Answer::of(204), Answer::job(body), Answer::of(500)])
}

#[test]
fn the_exit_code_is_the_jobs_and_one_job_is_all() {
    for (runner, code) in
        [("exit 0", 0), ("exit 7", 7), ("exit 255", 255), ("kill -KILL $$", 137), ("kill -TERM $$", 143)]
    {
        let dispatcher = one_job("x");
        let end = Stage::new(&dispatcher).run(runner);
        assert_eq!((end.code, end.stderr.as_str(), dispatcher.count()), (code, "", 2), "{runner}");
        assert_eq!(end.phases(), ["warming", "ready", "claimed", "ended"], "{:?}", end.told);
        let ended = format!("ended --job-nr 1 --job-exit {code} --poll served=1 --poll no_work=1 ");
        assert!(end.flags_of("ended").starts_with(&ended), "{:?}", end.told);
    }
}

#[test]
fn the_runner_gets_the_body_in_a_file_and_what_it_names_in_variables() {
    let body = r#"{"pool":"a","encoded_jit_config" : "eyJ+/=","url":"https:\/\/c.example\/x","odd":"a\"b","n":1}"#;
    let runner = r#"cat "$RUNNER_DISPATCH_JOB"; echo; stat -c %a "${RUNNER_DISPATCH_JOB%/*}"
        echo "$RUNNER_DISPATCH_JOB" "$ACTIONS_RUNNER_INPUT_JITCONFIG" "${CACHE-unset}" "${ODD-unset}" "${NONE-unset}""#;
    let expected = |jit: &str, cache: &str| format!("{jit} {cache} unset unset");
    for (names, values) in [
        (None, expected("eyJ+/=", "unset")),
        (
            Some("CACHE=url ODD=odd NONE=none ACTIONS_RUNNER_INPUT_JITCONFIG=encoded_jit_config!"),
            expected("eyJ+/=", "https://c.example/x"),
        ),
        (Some(""), expected("", "unset")),
        (Some("1BAD=url CACHE=url;true $(x)=url CACHE"), expected("", "unset")),
    ] {
        let dispatcher = one_job(body);
        let stage = Stage::new(&dispatcher);
        let stage = match names {
            Some(names) => stage.env("RUNNER_DISPATCH_JOB_ENV", names),
            None => stage,
        };
        let end = stage.run(runner);
        let lines: Vec<&str> = end.stdout.lines().collect();
        assert_eq!((end.code, lines[0], lines[1]), (0, body, "700"), "nobody else may read it: {end:?}");
        let (file, rest) = lines[2].split_once(' ').unwrap();
        assert_eq!(rest, values);
        assert!(!fs::exists(file).unwrap(), "it is gone with the job");
    }
}

#[test]
fn a_job_that_lacks_what_the_runner_needs_is_none() {
    let dispatcher = Dispatcher::of(vec![Answer::job("{}"), Answer::job(r#"{"key":"k"}"#)]);
    let end = Stage::new(&dispatcher).env("RUNNER_DISPATCH_JOB_ENV", "KEY=key!").run("echo $KEY; exit 7");
    assert_eq!((end.code, end.stdout.as_str(), dispatcher.count()), (7, "k\n", 2), "{}", end.stderr);
    assert!(end.stderr.contains("a job without key"), "{}", end.stderr);
}

#[test]
fn half_a_job_is_none() {
    let dispatcher = Dispatcher::of(vec![Answer::job("half").cut(), Answer::job("whole")]);
    let end = Stage::new(&dispatcher).run("cat $RUNNER_DISPATCH_JOB");
    assert_eq!((end.code, end.stdout.as_str(), dispatcher.count()), (0, "whole", 2), "{}", end.stderr);
}

#[test]
fn arguments_and_stdin_are_the_runners() {
    let dispatcher = one_job("x");
    let stage = Stage::new(&dispatcher);
    let arguments = ["%s|", "a b", "", "*", "$HOME", "-n", "--", "'\"\\", "two\nlines", "é"];
    let end = stage.start(&[&["printf"], arguments.as_slice()].concat()).end();
    assert_eq!(end.stdout, "a b||*|$HOME|-n|--|'\"\\|two\nlines|é|");

    let dispatcher = one_job("x");
    let stage = Stage::new(&dispatcher);
    let mut running = stage.spawn(stage.command(&["cat"]).stdin(Stdio::piped()));
    running.child.stdin.take().unwrap().write_all(b"for the runner\n").unwrap();
    assert_eq!(running.end().stdout, "for the runner\n");
}

#[test]
fn the_environment_is_that_of_run_job_alone_and_the_jobs_own() {
    let with = |dispatcher: &Dispatcher| {
        let stage = Stage::new(dispatcher);
        let folder = stage.path("").display().to_string();
        stage
            .env("PWD", &folder)
            .env("SHLVL", "3")
            .env("not.a.name", "kept by bash")
            .env("two lines", "one\ntwo")
            .env("status", "names that a script may use")
            .env("name", "x")
            .env("LC_ALL", "C.UTF-8")
            .env("RUNNER_TRACKING_ID", "github_1")
            .env("BASH_FUNC_main%%", "() {  echo an exported function\n}")
            .env("BASH_ENV", "/nonexistent/bash_env")
    };
    let dispatcher = one_job(r#"{"encoded_jit_config":"jit"}"#);
    let stage = with(&dispatcher);
    let end = stage.start(&["env", "-0"]).end();
    let variables = |stdout: &str| stdout.split('\0').map(str::to_owned).collect::<BTreeSet<_>>();
    let got = variables(&end.stdout);
    let mut alone = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/image/run-job.sh"));
    let command = stage.command(&[]);
    alone.args(["env", "-0"]).env_clear().envs(command.get_envs().map(|(name, value)| (name, value.unwrap())));
    let alone = alone.current_dir(stage.path("")).output().unwrap();
    let alone = variables(&String::from_utf8(alone.stdout).unwrap());
    let more: Vec<&String> = got.difference(&alone).collect();
    assert_eq!(alone.difference(&got).count(), 0, "{alone:?} {got:?}");
    assert!(more.len() == 2 && more[0] == "ACTIONS_RUNNER_INPUT_JITCONFIG=jit", "{more:?}");
    assert!(more[1].starts_with("RUNNER_DISPATCH_JOB="), "{more:?}");
}

#[test]
fn signals_are_as_without_it() {
    let dispatcher = one_job("x");
    let stage = Stage::new(&dispatcher);
    // By its path: `Command` starts what it has to look up in another way, which leaves other signals ignored.
    let runner = ["/bin/sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f5,6 /proc/$$/stat"];
    let direct = String::from_utf8(Command::new(runner[0]).args(&runner[1..]).output().unwrap().stdout).unwrap();
    assert_eq!(stage.start(&runner).end().stdout, direct);
}

#[test]
fn several_jobs_are_numbered_and_the_last_one_tells_the_code() {
    let jobs =
        || Dispatcher::of(vec![Answer::job("1"), Answer::of(204), Answer::job("2"), Answer::job("3"), Answer::of(410)]);
    let runner = "read -r n <$RUNNER_DISPATCH_JOB; cat $RUNNER_DISPATCH_JOB; exit $(cat $RUNNER_DISPATCH_JOB)";
    let dispatcher = jobs();
    let end = Stage::new(&dispatcher).env("RUNNER_DISPATCH_JOBS", "2").run(runner);
    assert_eq!((end.code, end.stdout.as_str(), dispatcher.count()), (2, "12", 3), "{end:?}");
    let phases = ["warming", "ready", "claimed", "ended", "ready", "claimed", "ended"];
    assert_eq!(end.phases(), phases);
    assert!(
        end.told[6].starts_with("ended --job-nr 2 --job-exit 2 --poll served=2 --poll no_work=1 "),
        "{:?}",
        end.told
    );

    let dispatcher = jobs();
    let end = Stage::new(&dispatcher).env("RUNNER_DISPATCH_JOBS", "0").run(runner);
    assert_eq!((end.code, end.stdout.as_str(), dispatcher.count()), (0, "123", 5), "{end:?}");
    assert_eq!(end.told.last().unwrap().split(" --poll").next(), Some("ended"), "the end of the runner, not of a job");
}
