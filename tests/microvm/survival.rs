//! What came out of many plays, as tables, and as files that stay: docs/SURVIVAL.md and fixtures/trail.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::figures;
use crate::judge;
use crate::play::Trail;
use crate::scenario::{Bound, Form, Scenario};

const BEGIN: &str = "<!-- figures: begin -->";
const END: &str = "<!-- figures: end -->";

/// A play and what is wrong with it.
pub(crate) struct Outcome {
    pub(crate) scenario: &'static Scenario,
    pub(crate) form: Form,
    /// `None` when the guest could not be brought through it.
    pub(crate) trail: Option<Trail>,
    pub(crate) faults: Vec<String>,
}

/// Both tables, as Markdown.
pub(crate) fn tables(outcomes: &[Outcome]) -> String {
    let silences = outcomes.iter().filter_map(silence_row).collect::<String>();
    let tellings = outcomes.iter().filter_map(telling_row).collect::<String>();
    format!(
        "Longest silence, in seconds:\n\n\
         | scenario | form | probe | bare C loop | shell probe |\n| --- | --- | --- | --- | --- |\n{silences}\n\
         Kills, losses and last lines, in milliseconds:\n\n\
         | scenario | form | kill to `kmsg.oom` | kill to `oom` | lines lost | age of the last line at a death |\n\
         | --- | --- | --- | --- | --- | --- |\n{tellings}"
    )
}

/// Of scenarios in which the probe is meant to go on.
fn silence_row(outcome: &Outcome) -> Option<String> {
    let trail = outcome.trail.as_ref()?;
    outcome.scenario.holds.iter().find(|bound| matches!(bound, Bound::Silence))?;
    let shell = (!trail.shell.is_empty()).then(|| figures::longest_silence(&trail.shell, trail.window));
    let [probe, bare, shell] = [
        Some(figures::longest_silence(&trail.probe, trail.window)),
        Some(figures::bare_silence(&trail.bare, trail.window)),
        shell,
    ]
    .map(|time| shown(time, |time| format!("{:.2}", time.as_secs_f64())));
    let Scenario { name, about, .. } = outcome.scenario;
    Some(format!("| {name}: {about} | {} | {probe} | {bare} | {shell} |\n", outcome.form.name()))
}

fn telling_row(outcome: &Outcome) -> Option<String> {
    let trail = outcome.trail.as_ref()?;
    let kills = figures::kills(&trail.console);
    let named = kills.iter().filter_map(|kill| figures::latency(judge::kmsg_line(trail, kill.pid), kill.at)).max();
    let counted = kills.iter().filter_map(|kill| figures::latency(judge::oom_line(trail, kill.at), kill.at)).max();
    let dies = outcome.scenario.holds.iter().any(|bound| matches!(bound, Bound::LastLine));
    let of_probe = kills.iter().find(|kill| kill.comm == "runner-vitals").map(|kill| kill.at);
    let death = of_probe.or(dies.then_some(trail.window.end));
    let age = death.and_then(|death| figures::age_at(&trail.probe, death));
    let [named, counted, age] = [named, counted, age].map(|time| shown(time, |time| time.as_millis().to_string()));
    let (name, form, lost) = (outcome.scenario.name, outcome.form.name(), figures::lost(&trail.probe));
    Some(format!("| {name} | {form} | {named} | {counted} | {lost} | {age} |\n"))
}

fn shown(time: Option<Duration>, form: impl Fn(Duration) -> String) -> String {
    time.map_or_else(|| "–".to_owned(), form)
}

/// Puts the tables into docs/SURVIVAL.md, between its markers.
pub(crate) fn write_document(tables: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SURVIVAL.md");
    let document = fs::read_to_string(&path).unwrap();
    fs::write(path, with_figures(&document, tables)).unwrap();
}

fn with_figures(document: &str, tables: &str) -> String {
    let (head, rest) = document.split_once(BEGIN).expect("the marker before the figures");
    let (_, tail) = rest.split_once(END).expect("the marker behind the figures");
    format!("{head}{BEGIN}\n\n{tables}\n{END}{tail}")
}

/// Keeps the probe's lines of the plain form, exactly as they arrived.
pub(crate) fn write_trail(outcome: &Outcome) {
    let Some(trail) = outcome.trail.as_ref().filter(|_| outcome.form == Form::ROOT) else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/trail");
    fs::create_dir_all(&folder).unwrap();
    let lines = trail.probe.iter().map(|line| format!("{}\n", line.text)).collect::<String>();
    fs::write(folder.join(format!("{}.log", outcome.scenario.name)), lines).unwrap();
}

/// Keeps all that was heard, for whoever wants to know why.
pub(crate) fn write_record(outcome: &Outcome) {
    let Some(trail) = &outcome.trail else { return };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("microvm/heard");
    fs::create_dir_all(&folder).unwrap();
    let ports = [("console", &trail.console), ("probe", &trail.probe), ("bare", &trail.bare), ("shell", &trail.shell)];
    let mut lines: Vec<_> =
        ports.iter().flat_map(|(port, lines)| lines.iter().map(move |line| (line.at, port, line))).collect();
    lines.sort_by_key(|(at, ..)| *at);
    let text = lines.iter().map(|(at, port, line)| format!("{:9.3} {port:7} {}\n", at.as_secs_f64(), line.text));
    let form = outcome.form.name().replace(' ', "-");
    let what = format!("{:?} {:?}\n{:#?}\n", trail.window, trail.acted, outcome.faults);
    let file = folder.join(format!("{}-{form}.log", outcome.scenario.name));
    fs::write(file, what + &text.collect::<String>()).unwrap();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_replace_those_of_before() {
        let before = format!("# Head\n\n{BEGIN}\nold\n{END}\nTail\n");
        let once = with_figures(&before, "new\n");
        assert_eq!(once, format!("# Head\n\n{BEGIN}\n\nnew\n\n{END}\nTail\n"));
        assert_eq!(with_figures(&once, "new\n"), once);
    }
}
