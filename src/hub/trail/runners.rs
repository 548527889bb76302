//! From runs to runners: a runner is what its name, its Pod or its boot says is one.

mod called;
mod lives;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use crate::line::RunId;

use super::book::{Book, Origin, Writer};
use super::join;
use super::kept::Kept;
use super::life::Life;
use called::Called;

/// One runner and the runs of its processes that wrote lines.
#[derive(Clone, Debug)]
pub struct Runner {
    /// What it is called: `runner.name`, the Pod, the file that only it stands in, or its run; no two are called the same as far as
    /// their sources tell them apart.
    pub name: String,
    /// Its runs, by their last lines; the last with samples is the one that dies.
    pub runs: Vec<(RunId, Box<Life>)>,
    /// So many earlier runs there were besides, too many to be kept.
    pub left_out: u64,
    /// Broken lines of vitals in the sources that it stands in: anybody's, its own perhaps.
    pub broken: u64,
    /// The source of its last line could not be read to its end: there may be more of it.
    pub is_cut: bool,
}

/// A runner as the book kept it, in less room.
#[derive(Clone, Debug)]
pub struct Closed {
    /// When its last line was written, by the guest's clock, ms since 1970.
    pub last_ms: Option<i64>,
    name: String,
    runs: Runs,
    left_out: u64,
    broken: u64,
    is_cut: bool,
}

type Runs = Vec<(RunId, Kept)>;

impl Closed {
    /// The runner.
    #[must_use]
    pub fn open(self) -> Runner {
        let Self { name, runs, left_out, broken, is_cut, .. } = self;
        let runs = runs.into_iter().map(|(run, kept)| (run, kept.into_life())).collect();
        Runner { name, runs, left_out, broken, is_cut }
    }
}

impl Runner {
    /// How many runs it had, kept or not.
    #[must_use]
    pub fn runs_in_all(&self) -> usize {
        self.runs.len().saturating_add(usize::try_from(self.left_out).unwrap_or(usize::MAX))
    }

    /// The runs of which one's end is the runner's: the last with samples, else the last; and those of probes that ran beside it.
    /// Where some of them saw the agent, only these.
    #[must_use]
    pub fn together(&self) -> Together {
        let last = self.runs.iter().rposition(|(_, life)| life.whole.is_some());
        let Some(last) = last.or(self.runs.len().checked_sub(1)) else { return Together::default() };
        let mut together = Together { runs: vec![last], left_out: 0 };
        let span = |at: usize| self.runs.get(at).and_then(|(_, life)| life.span_ms());
        let Some((last_began, _)) = span(last).filter(|_| last > 0) else { return together };
        // What began again in the same place is the later of its runs: one that ended before another began is no longer one of them.
        let mut latest_began = last_began;
        for at in (0..last).rev() {
            let Some((began, ended)) = span(at) else { continue };
            // Who began behind another and ended before it is nothing that began again, however short.
            let within_ms = if began > last_began { 1 } else { BESIDE_MS };
            let is_beside = ended.saturating_sub(began.max(latest_began)) >= within_ms;
            let is_beside_the_last = ended.saturating_sub(began.max(last_began)) >= within_ms;
            if is_beside_the_last {
                latest_began = latest_began.max(began);
            }
            if is_beside {
                together.runs.push(at);
            }
        }
        let saw_agent = |at: &usize| self.runs.get(*at).is_some_and(|(_, life)| life.saw_agent());
        if together.runs.iter().any(saw_agent) {
            together.runs.retain(saw_agent);
        }
        together.left_out = together.runs.len().saturating_sub(PROBES);
        together.runs.truncate(PROBES);
        together
    }
}

/// Runs that are there together for so long are those of two probes, and not of one that began again, ms; shorter ones where one is within
/// the time of another.
const BESIDE_MS: i64 = 10_000;

/// No runner has more probes. More runs than that, all there together, are those of many guests that were given one name.
const PROBES: usize = 8;

/// Runs of a runner that were there together, the last to speak first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Together {
    /// Their places in [`Runner::runs`].
    pub runs: Vec<usize>,
    /// So many more there are, which spoke last before these.
    pub left_out: usize,
}

/// What makes runs one runner.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Whose {
    Named {
        origin: Origin,
        name: Rc<str>,
    },
    Labelled(Origin),
    /// Only within a source: who keeps logs of one guest apart means to see them apart.
    Booted {
        source: u32,
        boot_id: String,
    },
    Alone {
        source: u32,
        run: String,
    },
}

/// Groups all runs.
pub(super) fn group(book: &mut Book) -> Vec<Closed> {
    book.thin_out(None);
    join::adopt(book);
    hear(book);
    let names = names_of_origins(book);
    let mut left_out: HashMap<Whose, u64> = HashMap::new();
    for (origin, name, count) in book.crowds.left_out() {
        *left_out.entry(whose_name(book, &names, origin, name)).or_default() += count;
    }
    let mut groups: BTreeMap<Whose, Runs> = BTreeMap::new();
    for (writer, kept) in std::mem::take(&mut book.lives) {
        let runs = groups.entry(whose(book, &names, writer, &kept)).or_default();
        if runs.is_empty() {
            // Most have no more: those of a probe, and of scripts.
            runs.reserve_exact(2);
        }
        runs.push((writer.run, kept));
    }
    adopt_booted(&mut groups);
    let unnamed_in = count_unnamed(&groups);
    let mut called: Vec<Called> = groups.iter().map(|(whose, runs)| name(book, &unnamed_in, whose, runs)).collect();
    called::apart(&mut called, book);
    let runners = groups.into_iter().zip(called).map(|((whose, mut runs), called)| {
        runs.sort_by_cached_key(|(run, kept)| {
            let life = kept.life();
            (life.logged_at_ms(life.last), run.as_str().to_owned())
        });
        let last_ms = runs.iter().filter_map(|(_, kept)| kept.life().last.at_ms()).max();
        let left_out = left_out.get(&whose).copied().unwrap_or(0);
        Closed { name: called.name, left_out, broken: broken(book, &runs), is_cut: is_cut(book, &runs), last_ms, runs }
    });
    let mut runners: Vec<Closed> = runners.collect();
    runners.sort_by(|a, b| a.name.cmp(&b.name));
    runners
}

/// Tells runs what is left of lines behind their last ones.
fn hear(book: &mut Book) {
    if book.rests.is_empty() {
        return;
    }
    for (writer, kept) in &mut book.lives {
        if let Some(mark) = book.rests.behind(*writer, &kept.life()) {
            kept.change(|life| life.heard(mark));
        }
    }
}

/// The only name that is said in an origin; none where there are several.
fn names_of_origins(book: &Book) -> HashMap<Origin, Option<u32>> {
    let mut names = HashMap::new();
    for writer in book.lives.keys().filter(|writer| writer.name != 0) {
        let only = names.entry(writer.origin).or_insert(Some(writer.name));
        if *only != Some(writer.name) {
            *only = None;
        }
    }
    names
}

/// Whose the lines are that a collector or they themselves say it of.
fn whose_name(book: &Book, names: &HashMap<Origin, Option<u32>>, origin: Origin, name: u32) -> Whose {
    // A Pod that is one runner; a Pod with several is a hub, which says whose each line is.
    let is_hub = names.get(&origin) == Some(&None);
    if origin != Origin::default() && (name == 0 || !is_hub) {
        return Whose::Labelled(origin);
    }
    Whose::Named { origin, name: book.names.shared(name).cloned().unwrap_or_default() }
}

fn whose(book: &Book, names: &HashMap<Origin, Option<u32>>, writer: Writer, kept: &Kept) -> Whose {
    if writer.origin != Origin::default() || writer.name != 0 {
        return whose_name(book, names, writer.origin, writer.name);
    }
    let life = kept.life();
    let source = life.first.place.source;
    match life.about.as_ref().and_then(|about| about.boot_id.as_deref()) {
        Some(boot_id) => Whose::Booted { source, boot_id: boot_id.to_owned() },
        None => Whose::Alone { source, run: writer.run.as_str().to_owned() },
    }
}

/// A run without a name is of the runner that booted with it in the same source.
fn adopt_booted(groups: &mut BTreeMap<Whose, Runs>) {
    let booted: Vec<Whose> = groups.keys().filter(|whose| matches!(whose, Whose::Booted { .. })).cloned().collect();
    if booted.is_empty() {
        return;
    }
    let mut named: HashMap<(u32, String), Whose> = HashMap::new();
    for (whose, runs) in groups.iter().filter(|(whose, _)| matches!(whose, Whose::Named { .. })) {
        for (_, kept) in runs {
            let life = kept.life();
            if let Some(boot_id) = life.about.as_ref().and_then(|about| about.boot_id.as_deref()) {
                named.entry((life.first.place.source, boot_id.to_owned())).or_insert_with(|| whose.clone());
            }
        }
    }
    for whose in booted {
        let Whose::Booted { source, boot_id } = &whose else { continue };
        let Some(owner) = named.get(&(*source, boot_id.clone())) else { continue };
        if let Some(runs) = groups.remove(&whose) {
            groups.entry(owner.clone()).or_default().extend(runs);
        }
    }
}

fn is_cut(book: &Book, runs: &Runs) -> bool {
    !book.cut.is_empty() && runs.iter().any(|(_, kept)| book.cut.contains(&kept.life().last.place.source))
}

fn broken(book: &Book, runs: &Runs) -> u64 {
    if book.broken_in.is_empty() {
        return 0;
    }
    let ends =
        runs.iter().map(|(_, kept)| kept.life()).flat_map(|life| [life.first, life.last].map(|mark| mark.place.source));
    let sources: BTreeSet<u32> = ends.collect();
    sources.iter().filter_map(|source| book.broken_in.get(source)).sum()
}

/// How many runners without a name stand in each source.
fn count_unnamed(groups: &BTreeMap<Whose, Runs>) -> HashMap<u32, u32> {
    let mut count = HashMap::new();
    for whose in groups.keys() {
        if let Whose::Booted { source, .. } | Whose::Alone { source, .. } = whose {
            *count.entry(*source).or_insert(0) += 1;
        }
    }
    count
}

fn name(book: &Book, unnamed_in: &HashMap<u32, u32>, whose: &Whose, runs: &Runs) -> Called {
    let label = |origin: &Origin| book.names.text(origin.0).unwrap_or_default();
    let source = runs.iter().map(|(_, kept)| kept.life().first.place.source).min().unwrap_or_default();
    let name = match whose {
        Whose::Named { origin, name } if *origin == Origin::default() => name.to_string(),
        Whose::Named { origin, name } => format!("{name} by {}", label(origin)),
        Whose::Labelled(origin) => label(origin).to_owned(),
        Whose::Booted { source, .. } | Whose::Alone { source, .. }
            if unnamed_in.get(source) == Some(&1) && !called::is_server(book.source_name(*source)) =>
        {
            return Called::by_file(*source, book);
        }
        Whose::Booted { boot_id, .. } => format!("boot {boot_id}"),
        Whose::Alone { run, .. } => format!("run {run}"),
    };
    Called::by_itself(name, source)
}
