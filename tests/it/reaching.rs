//! Which engine a command asks: the one that is named, else the one that runs; and an engine that was killed is started
//! again at once, at the same port.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::{Dsengine, Outcome, Running, write};

const LIMIT: Duration = Duration::from_secs(60);

/// A folder with configurations `NAME.yaml`, which share a state folder.
struct Folder(TempDir);

impl Folder {
    fn new(names: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), "rule.lua", "function detect(frame) end\n");
        for name in names {
            let config = format!(
                "name: {name}\nsources: [{{ id: gate, uri: 'scene:street?live=true&pixels=false' }}]\n\
                 detection: {{ strategies: [{{ name: rule, module: rule.lua }}] }}\nalerts: {{ handlers: [] }}\n\
                 profiles: {{ away: {{ alerts: {{ throttle_seconds: 60 }} }} }}\n"
            );
            write(dir.path(), &format!("{name}.yaml"), &config);
        }
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn start(&self, name: &str, port: u16) -> (Running, String) {
        let (config, port) = (format!("{name}.yaml"), port.to_string());
        let mut run = self.command(&["run", "--config", &config, "--port", &port]).start();
        let page = run.page();
        (run, page)
    }

    fn command(&self, args: &[&str]) -> Dsengine {
        Dsengine::new([args, &["--state", "state"]].concat()).cwd(self.path())
    }

    fn ask(&self, args: &[&str]) -> Outcome {
        self.command(args).run()
    }

    /// Asks until the command succeeds: a source takes a moment to run.
    #[track_caller]
    fn until_fine(&self, args: &[&str]) -> Outcome {
        let from = Instant::now();
        loop {
            let out = self.ask(args);
            if out.code() == 0 {
                return out;
            }
            assert!(from.elapsed() < LIMIT, "{args:?}: {}{}", out.stdout, out.stderr);
        }
    }
}

fn end(mut run: Running) {
    run.signal("INT");
    assert_eq!(run.end(LIMIT).and_then(|status| status.code()), Some(0), "{}", run.seen.join("\n"));
}

#[test]
fn a_command_asks_the_engine_of_its_configuration_and_no_other() {
    let folder = Folder::new(&["alpha", "beta", "gamma"]);
    let (alpha, alpha_page) = folder.start("alpha", 0);
    let (beta, beta_page) = folder.start("beta", 0);
    for name in ["alpha", "beta"] {
        let config = format!("{name}.yaml");
        let out = folder.until_fine(&["health-check", "--config", &config]);
        assert!(out.stdout.starts_with(&format!("{name}: healthy")) && out.stderr.is_empty(), "{}", out.stdout);
    }
    folder.ask(&["silence", "add", "--for", "1h", "source=\"gate\"", "-c", "beta.yaml"]).expect(0);
    let silences = |name: &str| folder.ask(&["silence", "list", "-c", &format!("{name}.yaml")]).expect(0).stdout;
    assert_eq!(silences("alpha"), "no silences\n");
    assert!(silences("beta").contains("source=\"gate\""));
    let commands: [&[&str]; 6] = [
        &["profile"],
        &["profile", "away", "--no-save"],
        &["sources", "list"],
        &["config", "show"],
        &["plugin", "list"],
        &["monitor", "--count", "1"],
    ];
    for args in commands {
        let out = folder.ask(&[args, &["--config", "beta.yaml"]].concat()).expect(0);
        assert!(out.stderr.is_empty(), "{args:?}: it was named: {}", out.stderr);
    }
    assert!(folder.ask(&["profile", "-c", "beta.yaml"]).expect(0).stdout.contains("* away"));
    assert!(folder.ask(&["profile", "-c", "alpha.yaml"]).expect(0).stdout.contains("  away"));

    // None is named, and two run: a guess might change the wrong one.
    for (args, code) in [(["health-check"].as_slice(), 2), (&["alerts", "list"], 1), (&["alerts", "ack", "1a"], 1)] {
        let several = folder.ask(args).expect(code).stderr;
        assert!(several.contains("several engines run: ") && several.contains("--config FILE"), "{several}");
        assert!(several.contains(&format!("alpha.yaml at http://{alpha_page}/")), "{args:?}: {several}");
    }
    let missing = folder.ask(&["silence", "list", "--config", "gamma.yaml"]).expect(1).stderr;
    assert!(missing.contains("no engine runs gamma.yaml") && missing.contains("dsengine run --config"), "{missing}");
    folder.ask(&["health-check", "--config", "gamma.yaml"]).expect(2);
    for args in [["profile", "-c", "delta.yaml"].as_slice(), &["alerts", "list", "-c", "delta.yaml"]] {
        let missing = folder.ask(args).expect(1).stderr;
        assert!(missing.contains("there is no file delta.yaml"), "{args:?}: {missing}");
    }
    // An address beside it does not hide that: every command looks at the file first, and says the same.
    let at = ["--at", &alpha_page, "-c", "delta.yaml"];
    let said = [(&["profile"][..], 1), (&["sources", "list"], 1), (&["alerts", "list"], 1), (&["health-check"], 2)]
        .map(|(command, code)| folder.ask(&[command, &at].concat()).expect(code).stderr);
    assert!(said[0].starts_with("error: ") && said[0].contains("there is no file delta.yaml"), "{}", said[0]);
    assert!(said[0].contains("--at HOST:PORT") && said.iter().all(|other| *other == said[0]), "{said:?}");
    let own = folder.ask(&["alerts", "list", "--at", &alpha_page]).expect(0);
    assert!(own.stderr.is_empty() && own.stdout == "no alerts\n", "{}", own.stderr);
    let none = folder.ask(&["explain", "alert", "1a", "--at", "127.0.0.1:9"]).expect(1).stderr;
    assert!(none.contains("no engine that runs with this state folder is at 127.0.0.1:9"), "{none}");

    // A flag outranks the variable, and two flags must agree.
    let asked = folder.command(&["health-check", "-c", "beta.yaml"]).env("DSENGINE_AT", &alpha_page).run();
    assert!(asked.expect(0).stdout.starts_with("beta: "));
    let both = folder.ask(&["profile", "-c", "beta.yaml", "--at", &alpha_page]).expect(1).stderr;
    let said = format!("the engine that runs beta.yaml is at http://{beta_page}/, not at {alpha_page}");
    assert!(both.contains(&said), "{both}");

    // By another path it is the same one.
    std::fs::create_dir(folder.path().join("sub")).unwrap();
    write(folder.path(), "sub/rule.lua", "function detect(frame) end\n");
    std::os::unix::fs::symlink("../beta.yaml", folder.path().join("sub/link.yaml")).unwrap();
    for config in ["sub/../beta.yaml", "sub/link.yaml"] {
        folder.ask(&["profile", "-c", config]).expect(0);
        let twice = folder.ask(&["run", "-c", config, "--port", "0"]).expect(2).stderr;
        assert!(twice.contains("runs this configuration already"), "{config}: {twice}");
    }

    // One runs: it is asked, and said to be.
    end(beta);
    let told = folder.ask(&["profile"]).expect(0).stderr;
    assert!(told.starts_with("note: the engine `alpha` at ") && told.contains(&alpha_page), "{told}");
    let listed = folder.ask(&["alerts", "list"]).expect(0);
    assert!(listed.stderr.starts_with("note: these are the alerts of the engine at http://"), "{}", listed.stderr);
    assert_eq!(listed.stdout, "no alerts\n");
    for flag in ["--quiet", "--json"] {
        assert_eq!(folder.ask(&["profile", flag]).expect(0).stderr, "", "{flag}");
    }
    end(alpha);
    let gone = folder.ask(&["profile", "--config", "alpha.yaml"]).expect(1).stderr;
    assert!(gone.contains("no engine runs alpha.yaml"), "its address is still noted: {gone}");
    // An address names the engine that is there: the alerts of a former run are not its.
    let elsewhere =
        |args: &[&str]| folder.ask(&[args, &["-c", "alpha.yaml", "--at", "127.0.0.1:9"]].concat()).expect(1);
    let asked = elsewhere(&["alerts", "ack", "1a"]).stderr;
    assert!(asked.contains("nothing listens at http://127.0.0.1:9"), "{asked}");
    let listed = elsewhere(&["alerts", "list"]).stderr;
    assert!(listed.contains("no engine that runs with this state folder is at 127.0.0.1:9"), "{listed}");
    assert_eq!(folder.ask(&["alerts", "list", "-c", "alpha.yaml"]).expect(0).stdout, "no alerts\n");
}

/// A port at which nobody listens, outside of those that the system gives to connections.
fn port() -> u16 {
    let from = 20_000 + u16::try_from(std::process::id() % 5_000).unwrap();
    (from..from + 5_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

#[test]
fn an_engine_that_was_killed_is_started_again_at_once_at_the_same_port() {
    let folder = Folder::new(&["alpha"]);
    let port = port();
    let mut killed = Vec::new();
    for _ in 0..3 {
        let (run, page) = folder.start("alpha", port);
        assert!(page.ends_with(&format!(":{port}")), "{page}");
        // A client that is connected meanwhile, and has unread data.
        let mut client = TcpStream::connect(&page).unwrap();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        write!(client, "GET /api/v1/events HTTP/1.1\r\nHost: {page}\r\n\r\n").unwrap();
        assert!(client.peek(&mut [0]).unwrap() > 0);
        run.signal("KILL");
        // It is not waited for.
        killed.push((run, client));
    }
    let (run, _page) = folder.start("alpha", port);
    end(run);
}
