//! Where a value comes from: flag, environment, file, default; and what of it never comes out again.

use super::{ALARM, Answer, Bench, LIVE, Receiver, TRACE, model, poll, stop, workers};
use crate::harness::get;

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default_in_the_running_program() {
    let bench = Bench::new();
    let cores = std::thread::available_parallelism().unwrap().get();
    let text = |count: usize| (cores + count).to_string();
    let config = format!("{LIVE}detection: {{ model_engine_file: {} }}\n", model("colours"));
    let file = format!("{config}thread_pool_size: {}\n", text(1));
    for (config, variable, flag, expected) in [
        (&config, false, false, cores),
        (&file, false, false, cores + 1),
        (&file, true, false, cores + 2),
        (&file, true, true, cores + 3),
    ] {
        let three = text(3);
        let args: &[&str] = if flag { &["--port", "0", "--workers", &three] } else { &["--port", "0"] };
        let mut command = bench.command("run", config, args);
        if variable {
            command = command.env("DSENGINE_THREAD_POOL_SIZE", &text(2));
        }
        let mut run = command.start();
        run.page();
        // A thread names itself once it runs.
        let pid = run.pid();
        poll(&mut run, || (workers(pid) == expected).then_some(()));
        stop(run);
    }
}

#[test]
fn a_variable_of_the_old_system_works_and_says_its_new_name() {
    let bench = Bench::new();
    let config = format!("{TRACE}{ALARM}alerts: {{ handlers: [] }}\n");
    let run = |variables: &[(&str, &str)]| {
        let command = bench.command("run", &config, &["--port", "0", "--json"]);
        let out = variables.iter().fold(command, |command, (name, value)| command.env(name, value)).run().expect(0);
        (out.json()["sources"][0]["alerts"].as_u64().unwrap(), out.stderr)
    };
    assert_eq!(run(&[]).0, 2);
    let (alerts, stderr) = run(&[("PYDS_ALERTS_ENABLED", "false")]);
    assert!(alerts == 0 && stderr.contains("DSENGINE_ALERTS__ENABLED"), "{alerts}: {stderr}");
    assert_eq!(run(&[("PYDS_ALERTS_ENABLED", "false"), ("DSENGINE_ALERTS__ENABLED", "true")]).0, 2);
}

#[test]
fn a_secret_goes_where_it_belongs_and_nowhere_else() {
    const SECRET: &str = "C4n4ryC4n4ry";
    let (bench, hook, camera) = (Bench::new(), Receiver::new(Answer::Status(500)), Receiver::new(Answer::Status(500)));
    bench.write("secret.txt", SECRET);
    let config = format!(
        "sources:\n  - {{ id: a, uri: 'trace:steps.jsonl' }}\n\
         \x20 - {{ id: camera, uri: 'rtsp://admin:${{env:SITE_SECRET}}@{}/x?token=${{env:SITE_SECRET}}', retry_delay: 0.2 }}\n\
         {ALARM}alerts:\n  retry_delay: 0.2\n  max_age_seconds: 0\n  handlers:\n    - {{ name: file, config: {{ log_file: out.jsonl }} }}\n\
         \x20   - name: webhook\n      config: {{ url: 'http://{}/${{env:SITE_SECRET}}/hook?token=${{env:SITE_SECRET}}', \
         headers: {{ Authorization: 'Bearer ${{file:secret.txt}}' }} }}\n\
         logging: {{ level: debug, log_file: x.log, format: FORMAT }}\n",
        camera.address, hook.address
    );
    for format in ["text", "json"] {
        let before = (hook.hits().len(), camera.hits().len());
        let config = config.replace("FORMAT", format);
        let mut run = bench
            .command("run", &config, &["--port", "0", "--verbose"])
            .env("SITE_SECRET", SECRET)
            .env("GST_DEBUG", "3,rtsp*:6")
            .start();
        let page = run.page();
        // Both have been tried and have failed, more than once.
        poll(&mut run, || (hook.hits().len() > before.0 + 3 && camera.hits().len() > before.1 + 1).then_some(()));
        let pages = ["/", "/metrics", "/health", "/readyz", "/api/v1/status", "/api/v1/alerts"];
        let mut told: Vec<String> = pages.iter().map(|path| get(&page, path).1).collect();
        assert!(told.iter().all(|text| !text.is_empty()));
        told.extend(stop(run));
        for file in ["x.log", "out.jsonl"] {
            told.push(std::fs::read_to_string(bench.path(file)).unwrap());
        }
        let told = told.join("\n");
        let leak = told.lines().find(|line| line.contains("C4n4ry"));
        assert_eq!(leak, None, "{format}");
        assert!(told.contains("alert given up") && told.contains("rtsp://***@"), "the log is there, without it");
    }
    let (hook, camera) = (&hook.hits()[0].request, &camera.hits()[0].request);
    assert!(hook.starts_with(&format!("POST /{SECRET}/hook?token={SECRET} ")), "{hook}");
    assert!(hook.contains(&format!("authorization: Bearer {SECRET}\r\n")), "{hook}");
    assert!(camera.contains(&format!("token={SECRET}")), "{camera}");
}
