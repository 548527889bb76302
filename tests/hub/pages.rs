//! The pages: what fleets are now, and what a runner died of.

use crate::browser::Browser;
use crate::client::{Answer, Client};
use crate::fleets::now;
use crate::hub::{Hub, token};

fn get(hub: &Hub, path: &str, token: Option<&str>) -> Answer {
    let mut client = Client::connect(hub.address);
    let auth = token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    client.say(format!("GET {path} HTTP/1.1\r\nHost: hub\r\n{auth}\r\n").as_bytes());
    client.answer().unwrap()
}

fn tell(hub: &Hub, runner: &str) {
    let lines = [
        now("k3x9", "event=start interval.ms=1000 runner.image=a<b>c"),
        now("k3x9", "load1=0.30 vm.mem.total.kb=8000000 vm.mem.avail.kb=1000").replace("seq=1 ", "seq=2 "),
        now("aaaa", "event=phase phase=ready boot.id=x uptime.ms=9000"),
        now("bbbb", "event=phase phase=claimed boot.id=x uptime.ms=9100"),
        now("k3x9", "event=kmsg.oom scope=guest victim.comm=\"<script>alert(1)</script>\" kts=9")
            .replace("seq=1 ", "seq=3 "),
        now("k3x9", "event=stop reason=sigterm").replace("seq=1 ", "seq=4 "),
    ];
    assert_eq!(Client::connect(hub.address).post(runner, lines.concat().as_bytes()).status, 204);
}

#[test]
fn pages_are_for_who_may_write() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&["--dir", dir.path().to_str().unwrap()]);
    tell(&hub, "runner-1");
    for path in ["/fleet", "/runners/runner-1", "/runners/nobody"] {
        for wrong in [None, Some("token-of-nobody")] {
            let answer = get(&hub, path, wrong);
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
            assert!(!answer.body.contains("runner-1"), "{}", answer.body);
        }
    }
    let own = token("runner-2");
    let page = get(&hub, "/fleet", Some(&own));
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(page.body.contains("<a href=\"runners/runner-1\">runner-1</a>"), "{}", page.body);
    let report = get(&hub, "/runners/runner-1", Some(&own));
    assert_eq!(report.status, 200);
    assert!(report.body.contains("<h1 class=\"title\">What ended this runner</h1>"), "{}", report.body);
    assert!(!report.body.contains("<script"));
    for nobody in ["/runners/nobody", "/runners/..%2Fx", "/runners/runner-2"] {
        assert_eq!(get(&hub, nobody, Some(&own)).status, 404, "{nobody}");
    }
}

#[test]
fn pages_can_be_for_everybody() {
    let hub = Hub::start(&["--open-pages"]);
    assert!(get(&hub, "/fleet", None).body.contains("Nobody is there."));
    let none = get(&hub, "/runners/runner-1", None);
    assert_eq!((none.status, none.body.contains("--dir")), (404, true));
    assert_eq!(get(&hub, "/fleet", Some("token-of-nobody")).status, 200, "it is not looked at");
}

#[test]
fn a_browser_shows_the_pages_and_asks_for_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let hub = Hub::start(&["--open-pages", "--dir", dir.path().to_str().unwrap()]);
    tell(&hub, "runner-1");
    for (path, says) in [("/fleet", "<caption>Members</caption>"), ("/runners/runner-1", "&lt;script&gt;alert(1)")] {
        let url = format!("http://{}{path}", hub.address);
        let Some(browser) = Browser::at(&url) else { return };
        assert!(browser.dom().contains(says), "{path}: {}", browser.dom());
        let (asked, said) = browser.asked();
        let other: Vec<&String> = asked.iter().filter(|asked| **asked != url).collect();
        assert!(other.is_empty() && said.is_empty(), "{path}: {other:?} {said:?}");
    }
}
