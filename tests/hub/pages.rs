//! The pages: what fleets are now, and what a runner died of.

use std::fs;

use crate::browser::Browser;
use crate::client::{Answer, Client, metric};
use crate::fleets::now;
use crate::hub::{Hub, line, token, token_line};
use crate::until;

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
fn pages_can_be_for_readers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let readers = dir.path().join("readers");
    // Who stands in both files is a reader.
    fs::write(&readers, [token_line("reader-1"), token_line("runner-9")].concat()).unwrap();
    let lines = dir.path().join("lines");
    let hub = Hub::start(&["--dir", lines.to_str().unwrap(), "--page-tokens-file", readers.to_str().unwrap()]);
    tell(&hub, "runner-1");
    let look = |path: &str, name: &str| get(&hub, path, Some(&token(name)));
    let post = |name: &str| Client::connect(hub.address).post(name, line(1).as_bytes());
    for path in ["/fleet", "/runners/runner-1"] {
        assert!(look(path, "reader-1").body.contains("runner-1"), "{path}");
        for runner in ["runner-1", "runner-2"] {
            let answer = look(path, runner);
            assert_eq!((answer.status, answer.body.as_str()), (403, "no_reader\n"), "{path} {runner}");
        }
        assert_eq!((look(path, "nobody").status, get(&hub, path, None).status), (401, 401), "{path}");
    }
    assert_eq!((look("/fleet", "runner-9").status, look("/runners/nobody", "reader-1").status), (200, 404));
    for reader in ["reader-1", "runner-9"] {
        let answer = post(reader);
        assert_eq!((answer.status, answer.body.as_str()), (403, "reader\n"), "{reader}");
    }
    assert_eq!((post("runner-2").status, post("nobody").status), (204, 401));
    let refused = |why| metric(hub.address, &format!("vitals_hub_auth_total{{result=\"{why}\"}}"));
    assert_eq!((refused("no_reader"), refused("reader")), (4, 2));
    // Ten are told at once, and these are the first.
    assert_eq!(hub.logged("from=127.0.0.1 status=403 why=no_reader who="), "runner-2");

    fs::write(&readers, token_line("reader-2")).unwrap();
    until("the new readers", || (look("/fleet", "reader-2").status == 200).then_some(()));
    assert_eq!((look("/fleet", "reader-1").status, look("/fleet", "runner-9").status), (401, 403));
    assert_eq!(post("runner-9").status, 204, "no reader any more");
    fs::write(&readers, "").unwrap();
    let failed = "vitals_hub_reloads_total{file=\"page_tokens\",result=\"failed\"}";
    until("the empty file is told", || (metric(hub.address, failed) >= 1).then_some(()));
    assert_eq!(look("/fleet", "reader-2").status, 200, "what was there before stays");
}

#[test]
fn pages_are_for_readers_also_where_nobody_says_who_sends() {
    let readers = tempfile::NamedTempFile::new().unwrap();
    fs::write(readers.path(), token_line("reader-1")).unwrap();
    let hub = Hub::start(&["--auth", "none", "--page-tokens-file", readers.path().to_str().unwrap()]);
    let looks = [None, Some("reader-1"), Some("runner-1")].map(|name| get(&hub, "/fleet", name.map(token).as_deref()));
    assert_eq!(looks.map(|answer| answer.status), [401, 200, 403]);
    let post = |name: &str| Client::connect(hub.address).post(name, line(1).as_bytes()).status;
    assert_eq!((post("reader-1"), post("runner-1")), (403, 204));
    assert_eq!(hub.logged("from=127.0.0.1 status=403 why=reader who="), "reader-1");
    assert!(!hub.log.lock().unwrap().join("\n").contains("token-of"), "no token in the log");
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

#[test]
fn one_file_for_senders_and_readers_is_told() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), token_line("runner-1")).unwrap();
    let path = file.path().to_str().unwrap();
    let hub = Hub::start(&["--auth", &format!("tokens={path}"), "--page-tokens-file", path]);
    hub.logged("nobody is let in who sends lines");
    let answer = Client::connect(hub.address).post("runner-1", line(1).as_bytes());
    assert_eq!((answer.status, answer.body.as_str()), (403, "reader\n"));
}
