//! Plays a scenario in a guest: starts the probe and what it is compared with, then the load, and keeps what was heard.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::figures::{self, Heard, Window};
use crate::image::Image;
use crate::machine::{BARE_PORT, Machine, PROBE_PORT, SHELL_PORT};
use crate::scenario::{Act, Form, Output, Privilege, Scenario};

/// How long probe and bare loop may take to their first lines, and the probe to its last.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a guest may take to die of what should kill it.
const DEATH_PATIENCE: Duration = Duration::from_secs(40);

/// How long a probe is looked at after a kill or a signal.
const AFTERMATH: Duration = Duration::from_secs(3);

/// A load begins half a beat after a sample. What follows whole seconds later would else fall onto a line: a cut would
/// cut it, and a kill would find it fresh.
const OFF_THE_BEAT: Duration = Duration::from_millis(500);

/// What the bare loop reads: what the probe reads.
const READ: &str = "/proc/meminfo /proc/vmstat /proc/stat /proc/loadavg /proc/pressure/cpu /proc/pressure/memory \
    /proc/pressure/io $runner/memory.current $runner/memory.peak $runner/memory.max $runner/memory.swap.current \
    $runner/memory.events $runner/memory.stat $runner/cpu.stat $runner/pids.current $runner/pids.events";

/// Who runs beside the probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    Bare,
    /// Under emulation the shell probe's forks take a good part of the CPU.
    BareAndShell,
}

/// What was heard of one play.
#[derive(Debug)]
pub(crate) struct Trail {
    pub(crate) console: Vec<Heard>,
    pub(crate) probe: Vec<Heard>,
    pub(crate) bare: Vec<Heard>,
    pub(crate) shell: Vec<Heard>,
    /// What the probe's port had behind its last newline when the guest died.
    pub(crate) rest: Vec<u8>,
    /// From the load's start to its end, or to the guest's.
    pub(crate) window: Window,
    /// The moment of what was done besides the load: the death, the end of a hold, the signal.
    pub(crate) acted: Option<Duration>,
}

/// The guest that the next scenario may find alive.
#[derive(Default)]
pub(crate) struct Stage {
    guest: Option<(&'static str, Machine)>,
}

impl Stage {
    /// Plays a scenario, in the guest that is there if it is of the right kind.
    pub(crate) fn play(&mut self, image: &Image, scenario: &Scenario, form: Form, company: Company) -> Trail {
        let mut machine = match self.guest.take() {
            Some((boot, machine)) if boot == scenario.boot => machine,
            _ => Machine::boot(image, scenario.boot),
        };
        machine.clear_stage();
        let from = Marks::of(&machine);
        start(&mut machine, &from, scenario, form, company);
        let (window, acted) = perform(&mut machine, &from, scenario);
        if matches!(scenario.act, Act::Nothing | Act::Held(_) | Act::Paused(_) | Act::Sigterm) {
            end_probe(&mut machine, &from);
            let trail = from.trail(&machine, window, acted);
            self.guest = Some((scenario.boot, machine));
            return trail;
        }
        from.trail(&machine, window, acted)
    }
}

/// How many lines each port had before.
struct Marks {
    console: usize,
    probe: usize,
    bare: usize,
    shell: usize,
}

impl Marks {
    fn of(machine: &Machine) -> Self {
        let count = |port: &crate::machine::Port| port.lines().len();
        Self {
            console: count(&machine.console),
            probe: count(&machine.probe),
            bare: count(&machine.bare),
            shell: count(&machine.shell),
        }
    }

    fn trail(&self, machine: &Machine, window: Window, acted: Option<Duration>) -> Trail {
        Trail {
            console: machine.console.lines().split_off(self.console),
            probe: machine.probe.lines().split_off(self.probe),
            bare: machine.bare.lines().split_off(self.bare),
            shell: machine.shell.lines().split_off(self.shell),
            rest: machine.probe.rest(),
            window,
            acted,
        }
    }
}

fn start(machine: &mut Machine, from: &Marks, scenario: &Scenario, form: Form, company: Company) {
    if !scenario.set_up.is_empty() {
        machine.run(scenario.set_up);
    }
    machine.run(&format!("within runner -- /disk/bin/bare {READ} >{BARE_PORT} 2>&1 &"));
    for command in probe_commands(scenario, form) {
        machine.run(&command);
    }
    if company == Company::BareAndShell {
        machine.run(&format!(
            "PATH=/disk/bin within runner -- /disk/bin/bash /disk/shell-probe.sh 1 >{SHELL_PORT} 2>/dev/null &"
        ));
    }
    // The start line, the first sample, and one on the beat.
    let deadline = Instant::now() + PATIENCE;
    let begun = machine.probe.wait_for(deadline, |lines| lines.len() >= from.probe + 3);
    begun.unwrap_or_else(|| panic!("the probe does not begin: {:#?}", machine.probe.lines()));
    let begun = machine.bare.wait_for(deadline, |lines| lines.len() >= from.bare + 4);
    begun.unwrap_or_else(|| panic!("the bare loop does not begin: {:#?}", machine.bare.lines()));
    let sample = machine.probe.lines().last().map(|line| line.at);
    sleep_until(machine, sample.expect("a sample") + OFF_THE_BEAT);
}

fn probe_commands(scenario: &Scenario, form: Form) -> Vec<String> {
    let privilege = match form.privilege {
        Privilege::Root => "",
        Privilege::Container => "-c",
        Privilege::User => "-u 1000",
    };
    let (flags, adj) = (scenario.flags, scenario.oom_score_adj);
    let probe = format!("within runner -a {adj} {privilege} -- /disk/bin/runner-vitals --interval 1 {flags}");
    match form.output {
        Output::Direct => vec![format!("{probe} >{PROBE_PORT} 2>&1 & vitals=$!")],
        Output::Pipe => vec![
            format!("rm -f /tmp/pipe; mkfifo /tmp/pipe; /disk/bin/cat </tmp/pipe >{PROBE_PORT} &"),
            format!("{probe} >/tmp/pipe 2>&1 & vitals=$!"),
        ],
    }
}

/// Runs the load and what is done besides.
fn perform(machine: &mut Machine, from: &Marks, scenario: &Scenario) -> (Window, Option<Duration>) {
    let begin = machine.now();
    if !scenario.load.is_empty() {
        machine.run(&format!("{} >/dev/null 2>&1 &", scenario.load));
    }
    let end = begin + Duration::from_secs(scenario.seconds);
    let acted = match scenario.act {
        Act::Nothing if scenario.kills() => return (Window { begin, end: after_a_kill(machine, from, end) }, None),
        Act::Nothing | Act::Spoils => None,
        Act::Sigterm => {
            let signalled = sigterm(machine, from, end);
            sleep_until(machine, signalled + AFTERMATH);
            return (Window { begin, end: machine.now() }, Some(signalled));
        }
        Act::Held(how_long) => Some(hold(machine, how_long)),
        Act::Paused(how_long) => Some(pause(machine, how_long)),
        Act::Dies(_) | Act::Panics | Act::PowerCut => {
            let died = die(machine, from, scenario, end);
            return (Window { begin, end: died }, Some(died));
        }
    };
    sleep_until(machine, end);
    (Window { begin, end }, acted)
}

/// Waits for the kernel to kill for memory, and on until it shows how the probe took it; at the latest until the end.
fn after_a_kill(machine: &Machine, from: &Marks, end: Duration) -> Duration {
    let killed = |lines: &[Heard]| !figures::kills(&lines[from.console..]).is_empty();
    let _ = machine.console.wait_for(Instant::now() + end.saturating_sub(machine.now()), killed);
    let end = end.min(machine.now() + AFTERMATH);
    sleep_until(machine, end);
    end
}

fn sleep_until(machine: &Machine, moment: Duration) {
    std::thread::sleep(moment.saturating_sub(machine.now()));
}

/// The moment from which on nothing in the guest could speak.
fn die(machine: &mut Machine, from: &Marks, scenario: &Scenario, end: Duration) -> Duration {
    let console = from.console;
    match scenario.act {
        Act::Dies(command) => {
            sleep_until(machine, end);
            machine.send(command);
        }
        Act::PowerCut => {
            sleep_until(machine, end);
            machine.signal(Signal::KILL);
        }
        _ => {}
    }
    let gone = machine.probe.wait_for_end(Instant::now() + DEATH_PATIENCE);
    let gone = gone.unwrap_or_else(|| panic!("the guest did not die: {:#?}", machine.console.lines()));
    let lines = machine.console.lines().split_off(console);
    lines.iter().find(|line| line.text.contains("Kernel panic")).map_or(gone, |line| line.at)
}

/// The moment at which the guest went on.
fn hold(machine: &Machine, how_long: Duration) -> Duration {
    machine.signal(Signal::STOP);
    std::thread::sleep(how_long);
    let at = machine.now();
    machine.signal(Signal::CONT);
    at
}

/// The same, with the guest's clocks stopped too.
fn pause(machine: &mut Machine, how_long: Duration) -> Duration {
    machine.monitor("stop");
    std::thread::sleep(how_long);
    let at = machine.now();
    machine.monitor("cont");
    at
}

/// The moment at which the guest's shell was about to send the signal.
fn sigterm(machine: &mut Machine, from: &Marks, end: Duration) -> Duration {
    let kill = |lines: &[Heard]| !figures::kills(&lines[from.console..]).is_empty();
    let deadline = Instant::now() + end.saturating_sub(machine.now());
    machine.console.wait_for(deadline, kill).unwrap_or_else(|| panic!("no OOM: {:#?}", machine.console.lines()));
    let answer = machine.heard("echo =term; kill -TERM $vitals");
    answer.iter().find(|line| line.text == "=term").expect("the shell's word").at
}

/// Ends the probe as a launcher does, and waits for its last word, which may not come.
fn end_probe(machine: &mut Machine, from: &Marks) {
    machine.run("kill -TERM $vitals 2>/dev/null");
    let stopped = |lines: &[Heard]| lines[from.probe..].iter().any(|line| line.text.contains(" event=stop "));
    let _ = machine.probe.wait_for(Instant::now() + Duration::from_secs(3), stopped);
}
