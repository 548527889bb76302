//! The page in a real browser. Without it these tests are skipped, loudly, and fail in CI.

use crate::browser::Browser;
use crate::hostile::EVIL;
use crate::made::Made;
use crate::page::page;
use crate::support::fixture;

#[test]
fn a_page_loads_without_a_word_and_asks_for_nothing() {
    let Some(browser) = Browser::with(&page(&fixture("oom-cgroup"))) else { return };
    assert_eq!(browser.asked(), (vec![], vec![]));
    // That a page which does would be seen.
    let bad = "<!doctype html><img src=\"http://127.0.0.1:9/x.png\"><script>console.error('no')</script>";
    let (asked, said) = Browser::with(bad).unwrap().asked();
    assert_eq!((asked.as_slice(), said.len()), (&["http://127.0.0.1:9/x.png".to_owned()][..], 1), "{said:?}");
    // And that the policy holds, whatever got into a page.
    let policy = page(&fixture("idle"));
    let forced =
        policy.replace("<body>", "<body><img src=\"http://127.0.0.1:9/x.png\"><script>document.title='owned'</script>");
    let forced = Browser::with(&forced).unwrap();
    let (asked, said) = forced.asked();
    assert!(asked.is_empty() && said.len() >= 2, "{asked:?} {said:?}");
    assert!(forced.dom().contains("<title>stdin: stopped</title>"));
}

#[test]
fn every_chart_is_drawn() {
    for name in ["cpu-quota", "cpu-starve", "disk-full", "oom-cgroup", "page-cache", "power-cut", "thrash-high"] {
        let Some(browser) = Browser::with(&page(&fixture(name))) else { return };
        let dom = browser.dom();
        let charts: Vec<&str> = dom.split("<svg").skip(1).map(|svg| svg.split("</svg>").next().unwrap()).collect();
        assert!(charts.len() >= 6, "{name}: {}", charts.len());
        for chart in charts.iter().filter(|chart| !chart.contains(">Events</title>")) {
            let drawn = chart.split("<path class=\"curve ").skip(1);
            let spots: Vec<usize> =
                drawn.map(|path| path.split("\"></path>").next().unwrap().matches(',').count()).collect();
            // Every second is the mark of a label.
            assert!(spots.iter().any(|spots| *spots >= 4), "{name}: {chart}");
        }
    }
}

#[test]
fn markup_in_a_trail_makes_no_element_in_a_browser() {
    let trail = |text: &str| {
        let made =
            Made::started(&format!("runner.name=\"{text}\" runner.fleet=\"{text}\" mem.level=\"{text}\"")).samples(3);
        let made = made.with("disk.path", format!("\"{text}\"")).samples(2);
        made.event("kmsg.oom", &format!("scope=cgroup victim.comm=\"{text}\" cgroup=\"{text}\" kts=80 msg=\"{text}\""))
            .text()
            .to_owned()
    };
    let Some(browser) = Browser::with(&page(&trail(EVIL))) else { return };
    let elements = |dom: &str| dom.matches('<').count();
    let dom = browser.dom();
    let plain = Browser::with(&page(&trail("x"))).unwrap().dom();
    assert_eq!(elements(&dom), elements(&plain));
    assert!(!dom.contains("<script") && dom.contains("&lt;script&gt;alert(1)"), "it is there as text");
    assert_eq!(browser.asked(), (vec![], vec![]));
}

#[test]
fn a_page_is_light_by_day_and_dark_by_night() {
    let Some(browser) = Browser::with(&page(&fixture("oom-cgroup"))) else { return };
    // mojom PreferredColorScheme: 0 dark, 1 light.
    let (dark, light) = (
        browser.corner("--blink-settings=preferredColorScheme=0"),
        browser.corner("--blink-settings=preferredColorScheme=1"),
    );
    assert!(light.iter().all(|part| *part > 240) && dark.iter().all(|part| *part < 60), "{light:?} {dark:?}");
}

#[test]
fn a_page_is_printed() {
    let Some(browser) = Browser::with(&page(&fixture("oom-cgroup"))) else { return };
    let path = browser.path("page.pdf");
    browser.open(&["--no-pdf-header-footer", &format!("--print-to-pdf={}", path.display())]);
    let pdf = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let pages = pdf.matches("/Type /Page\n").count();
    assert!(pdf.starts_with("%PDF") && (2..=12).contains(&pages), "{pages} pages");
}
