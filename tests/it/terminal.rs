//! What guests write reaches people as text: no line of its own, no word to the terminal.

use std::time::Duration;

use crate::harness::{Dsengine, street, write};

/// A second, forged line, a cleared screen, a bell, a line begun anew, an order to write from right to left.
const HOSTILE: &str = r"x\n2026-01-01T00:00:00.000Z CRITICAL gate forged: run\27[2J\7\r\u{202e}";

fn steers(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t') || ('\u{2028}'..='\u{202e}').contains(&c)
}

#[track_caller]
fn is_plain(what: &str, text: &str) {
    assert!(!text.contains(steers), "{what}: {text:?}");
    assert!(text.contains("gate forged"), "{what}: {text}");
    assert!(!text.lines().any(|line| line.starts_with("2026-01-01T00:00:00.000Z")), "{what}: {text}");
}

#[test]
fn what_guests_write_neither_forges_a_line_nor_steers_the_terminal() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "rule.lua",
        &format!(
            "function detect(frame)\n  if frame.seq == 3 then\n    log.warn(\"{HOSTILE}\")\n    \
             frame:alert{{ rule = \"{HOSTILE}\", message = \"{HOSTILE}\", key = \"{HOSTILE}\" }}\n  \
             elseif frame.seq == 5 then error(\"{}\", 0)\n  end\nend\n",
            HOSTILE.replace(r"\n", r"\r\27]0;")
        ),
    );
    write(dir.path(), "desk.lua", &format!("function handle_alert(alert) return 'retry', \"{HOSTILE}\" end\n"));
    write(dir.path(), "scene.yaml", &street(3000, 15));
    write(
        dir.path(),
        "config.yaml",
        "sources: [{ id: gate, uri: 'scene:scene.yaml?pixels=false&live=true' }]\n\
         detection: { strategies: [{ name: rule, module: rule.lua }] }\n\
         alerts:\n  min_confidence: 0\n  max_age_seconds: 0\n  handlers: [console, { name: desk, module: desk.lua }]\n\
         recovery: { max_retries: 1 }\nmonitoring: { prometheus: { port: 0 } }\nlogging: { format: text }\n",
    );
    let mut run = Dsengine::new(["run", "--config", "config.yaml"]).cwd(dir.path()).start();
    let page = run.page();
    run.wait_line(Duration::from_secs(20), |line| line.contains("CRITICAL gate forged") && line.contains("MEDIUM"));
    run.wait_line(Duration::from_secs(20), |line| line.contains("the frame passes unchanged"));
    run.wait_line(Duration::from_secs(20), |line| line.contains("alert given up"));
    let list = Dsengine::new(["plugin", "list", "--at", &page]).run().expect(0);
    is_plain("plugin list", &list.stdout);
    run.signal("INT");
    assert!(run.end(Duration::from_secs(20)).is_some());
    let all = run.seen.join("\n");
    is_plain("run", &all);
    assert!(all.contains("strategy rule: 1 fault, the last: ") && all.contains("handler desk: "), "{all}");
}
