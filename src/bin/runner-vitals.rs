//! The probe: arguments to configuration to the loop of this platform; or `exec`, a job and the probe beside it; or `phase`, one
//! line for a script.
//!
//! On Linux the C library calls `main` here, not Rust's own start: that would have SIGPIPE ignored and closed descriptors
//! opened before the first line, and a job of `exec` would get them so. On macOS there is no `exec`, and Rust's start will do.

#![cfg_attr(target_os = "linux", no_main)]

use std::ffi::OsString;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::SystemTime;

use clap::Parser as _;
use runner_vitals::line::RunId;
use runner_vitals::probe::config::phase::{PhaseArgs, PhaseConfig};
use runner_vitals::probe::config::{Adjusted, Args, Config};
use runner_vitals::probe::phase;

#[cfg(target_os = "linux")]
use linux as platform;
#[cfg(target_os = "macos")]
use macos as platform;

/// sysexits(3): a flag is wrong.
const EX_USAGE: u8 = 64;

/// sysexits(3): the system would not give what is needed.
const EX_OSERR: u8 = 71;

/// sysexits(3): it did not work this time.
const EX_TEMPFAIL: u8 = 75;

#[cfg(target_os = "macos")]
fn main() -> std::process::ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    match args.get(1) {
        Some(word) if word == "exec" => macos::no_exec().into(),
        Some(word) if word == "phase" => tell_phase(args.get(1..).unwrap_or_default()).into(),
        _ => probe(args).into(),
    }
}

fn probe(args: Vec<OsString>) -> u8 {
    platform::fill_standard_streams();
    let args = match Args::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => return print(&error),
    };
    let config = Config::new(args, |name| std::env::var_os(name));
    match platform::run_probe(config) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("runner-vitals: {error}");
            EX_OSERR
        }
    }
}

fn tell_phase(args: &[OsString]) -> u8 {
    platform::fill_standard_streams();
    let args = match PhaseArgs::try_parse_from(args) {
        Ok(args) => args,
        Err(error) => return print(&error),
    };
    let config = PhaseConfig::new(args, |name| std::env::var_os(name), SystemTime::now());
    for Adjusted { key, given, used } in &config.adjusted {
        eprintln!("runner-vitals: {key} {given:?}: {used}");
    }
    let stdout = match std::io::stdout().as_fd().try_clone_to_owned() {
        Ok(stdout) => File::from(stdout),
        Err(error) => {
            eprintln!("runner-vitals: {error}");
            return EX_OSERR;
        }
    };
    match phase::tell(&config, RunId::from_random(random()), &platform::guest(), stdout) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("runner-vitals: {error}");
            EX_TEMPFAIL
        }
    }
}

fn print(error: &clap::Error) -> u8 {
    // Nothing is left to tell when even this cannot be printed.
    let _ = error.print();
    let _ = std::io::stdout().flush();
    if error.use_stderr() { EX_USAGE } else { 0 }
}

fn random() -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{OsStr, OsString, c_char, c_int};
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use runner_vitals::line::RunId;
    use runner_vitals::probe::config::Config;
    use runner_vitals::probe::guest::{self, Guest};
    use runner_vitals::probe::job::{self, Order};
    use runner_vitals::probe::kernel::Root;
    use runner_vitals::probe::protect;
    use runner_vitals::probe::raw::child;
    use runner_vitals::probe::run;
    use runner_vitals::probe::watch::signals::Signals;

    pub(crate) use runner_vitals::probe::job::fill_standard_streams;

    /// What it is called where nobody says.
    const NAME: &str = "runner-vitals";

    /// Called by the C library.
    ///
    /// # Safety
    /// It is the C library that calls it, with the arguments of the program.
    #[allow(unsafe_code, reason = "the name that the C library calls, and what it gives")]
    #[unsafe(no_mangle)]
    pub(crate) unsafe extern "C" fn main(argc: c_int, argv: *const *const c_char) -> c_int {
        // SAFETY: they come from the C library as they are.
        let args = unsafe { child::arguments(argc, argv) };
        let code = match args.get(1) {
            Some(word) if word == "exec" => {
                exec(args.first().map_or(NAME.as_ref(), OsString::as_os_str), args.get(2..))
            }
            Some(word) if word == "phase" => super::tell_phase(args.get(1..).unwrap_or_default()),
            _ => super::probe(args),
        };
        c_int::from(code)
    }

    fn exec(program: &OsStr, args: Option<&[OsString]>) -> u8 {
        match Order::parse(args.unwrap_or_default()) {
            Ok(order) => job::run(order, program, is_off(std::env::var_os("RUNNER_VITALS"))),
            Err(error) => super::print(&error),
        }
    }

    /// The words that mean it; any other value, or none, wants the probe.
    fn is_off(value: Option<OsString>) -> bool {
        let value = value.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        matches!(value.as_str(), "off" | "0" | "false" | "no")
    }

    pub(crate) fn guest() -> Guest {
        let root = Root::new("/".into());
        let uptime_us = root.read("/proc/uptime").ok().and_then(|text| guest::uptime_us(&text));
        Guest::read(&root, uptime_us)
    }

    pub(crate) fn run_probe(config: Config) -> std::io::Result<()> {
        protect::prepare();
        if config.is_supervised {
            // `exec` starts what /proc/self/exe is, and the kernel calls it `exe`.
            let _ = rustix::thread::set_name(c"runner-vitals");
        }
        // Before the first thread, so that all of them leave the signals to the sampler.
        let signals = Signals::block()?;
        let stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        run::run(config, RunId::from_random(super::random()), stdout, &signals).map(drop)
    }
}

#[cfg(target_os = "macos")]
mod macos {
    use std::fs::File;
    use std::os::fd::AsFd as _;

    use runner_vitals::line::RunId;
    use runner_vitals::probe::config::Config;
    use runner_vitals::probe::darwin::{self, queue::Queue};
    use runner_vitals::probe::guest::Guest;

    /// Rust's start has done that.
    pub(crate) fn fill_standard_streams() {}

    pub(crate) fn no_exec() -> u8 {
        eprintln!("runner-vitals: there is no exec on macOS: start the job as in image/macos/run-job.sh");
        super::EX_USAGE
    }

    pub(crate) fn guest() -> Guest {
        darwin::reader::guest()
    }

    pub(crate) fn run_probe(config: Config) -> std::io::Result<()> {
        // Before the first thread, so that all of them leave the signals to the sampler.
        let queue = Queue::with_signals()?;
        let stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        darwin::run(config, RunId::from_random(super::random()), stdout, &queue).map(drop)
    }
}
