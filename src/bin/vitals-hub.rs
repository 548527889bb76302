//! The hub: arguments to configuration to [`runner_vitals::hub::serve::run`], [`runner_vitals::hub::diagnose::run`] or
//! [`runner_vitals::hub::fleet::run`].

use std::ffi::OsString;
use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Parser as _;
use runner_vitals::hub::cli::{Cli, Task};
use runner_vitals::hub::diagnose::text::Look;
use runner_vitals::hub::diagnose::{self, Code};
use runner_vitals::hub::fleet;
use runner_vitals::hub::serve::auth::tokens;
use runner_vitals::hub::serve::config::{self, Config, Environment};
use runner_vitals::hub::serve::log::Log;
use runner_vitals::hub::serve::{self, ServeError};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// sysexits(3): a flag is wrong.
const EX_USAGE: u8 = 64;

/// sysexits(3): the system would not give what is needed.
const EX_OSERR: u8 = 71;

/// sysexits(3): to be tried again.
const EX_TEMPFAIL: u8 = 75;

/// sysexits(3): a setting is wrong.
const EX_CONFIG: u8 = 78;

/// How long the end waits for a stderr that nobody reads.
const LAST_WORDS: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let (cli, environment) = match parsed() {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    match cli.command {
        Task::Serve(args) => match Config::new(*args) {
            Ok(config) => served(cli.log, &environment, config),
            Err(error) => failed(&error, EX_CONFIG),
        },
        Task::Diagnose(args) => ExitCode::from(u8::from(diagnosed(&args))),
        Task::Fleet(args) => ExitCode::from(u8::from(told_of_fleets(&args))),
        Task::HashToken => hash_token(),
    }
}

/// The arguments with what the environment adds, and that; or how to end.
fn parsed() -> Result<(Cli, Environment), ExitCode> {
    let mut environment = Environment::default();
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if let Some(at) = words.iter().position(|word| word == "serve") {
        let given = words.split_off(at + 1);
        let told = config::environment(&given, |name| std::env::var_os(name));
        environment = told.map_err(|error| failed(&error, EX_CONFIG))?;
        words.extend(environment.flags.iter().cloned());
        words.extend(given);
    }
    let cli = Cli::try_parse_from(words).map_err(|error| {
        // Nothing is left to tell when even this cannot be printed.
        let _ = error.print();
        ExitCode::from(if error.use_stderr() { EX_USAGE } else { 0 })
    });
    Ok((cli?, environment))
}

fn served(log: Option<String>, environment: &Environment, config: Config) -> ExitCode {
    let filter = log.or_else(|| std::env::var("VITALS_HUB_LOG").ok()).or_else(|| std::env::var("RUST_LOG").ok());
    let filter = match log_filter(filter.as_deref().unwrap_or("info")) {
        Ok(filter) => filter,
        Err(error) => return failed(&format!("--log: {error}"), EX_USAGE),
    };
    // It tells answers of the cluster that it cannot read as they are, tokens and all. What failed is told by the hub.
    let filter = match "kube_client=off".parse() {
        Ok(off) => filter.add_directive(off),
        Err(_) => filter,
    };
    // A thread that serves requests never writes to stderr itself: nobody may read it.
    let log = match Log::start(std::io::stderr()) {
        Ok(log) => log,
        Err(error) => return failed(&error, EX_OSERR),
    };
    let writer = log.clone();
    let layer = tracing_logfmt::builder().layer().with_writer(move || writer.clone());
    tracing_subscriber::registry().with(filter).with(layer).init();
    for (variable, flag) in &environment.outdone {
        tracing::info!(variable, flag, "a variable of the environment gives way to a flag");
    }
    std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a bug: a request or a task has ended")));
    let ended = run(config);
    if let Err(error) = &ended {
        log.say(format!("vitals-hub: {error}\n").as_bytes());
    }
    log.finish(LAST_WORDS);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(ServeError::Setting(_)) => ExitCode::from(EX_CONFIG),
        Err(ServeError::System(_)) => ExitCode::from(EX_OSERR),
        Err(ServeError::Undrained) => ExitCode::from(EX_TEMPFAIL),
    }
}

fn log_filter(text: &str) -> Result<EnvFilter, String> {
    // A single word is also the name of a module, of which alone would be logged.
    if !text.contains(['=', ',']) && text.parse::<LevelFilter>().is_err() {
        return Err(format!("{text} is none of error, warn, info, debug, trace, off"));
    }
    EnvFilter::try_new(text).map_err(|error| error.to_string())
}

fn run(config: Config) -> Result<(), ServeError> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    // What is on its way goes on before more is read: what a way out has let through is told first, and few sockets are looked at
    // at once. Else a thousand guests that send at the same time have all of their lines in memory.
    runtime.global_queue_interval(1).event_interval(256).max_io_events_per_tick(64);
    let runtime = runtime.enable_all().build()?;
    let ended = runtime.block_on(async {
        let stop = stop()?;
        serve::run(config, stop).await
    });
    // What still hangs in a thread is not waited for.
    runtime.shutdown_background();
    ended
}

/// Waits for SIGTERM or SIGINT.
fn stop() -> std::io::Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn diagnosed(args: &diagnose::Args) -> Code {
    let stdout = std::io::stdout();
    diagnose::run(args, SystemTime::now(), std::io::stdin(), &mut stdout.lock(), &mut std::io::stderr(), look())
}

fn told_of_fleets(args: &fleet::Args) -> Code {
    let stdout = std::io::stdout();
    let clock = (SystemTime::now(), look());
    fleet::run(args, std::io::stdin(), &mut stdout.lock(), &mut std::io::stderr(), clock)
}

fn look() -> Look {
    let no_color = std::env::var_os("NO_COLOR");
    if std::io::stdout().is_terminal() { Look::of_terminal(no_color.as_deref()) } else { Look::Plain }
}

fn hash_token() -> ExitCode {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("vitals-hub: the token, and enter:");
    }
    let mut token = String::new();
    if let Err(error) = stdin.lock().read_line(&mut token) {
        return failed(&error, EX_OSERR);
    }
    let token = token.trim();
    if token.is_empty() {
        return failed(&"no token on stdin", EX_USAGE);
    }
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{}", tokens::hashed(token)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error, EX_OSERR),
    }
}

fn failed(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    eprintln!("vitals-hub: {error}");
    ExitCode::from(code)
}
