//! Tests of the request checks.

use super::super::Needs;
use super::*;

fn grants(http: &[&str]) -> Grants {
    Grants {
        has: Needs { http: http.iter().map(|h| (*h).to_owned()).collect(), ..Needs::default() },
        secrets: [("TOKEN".to_owned(), "t0psecret".to_owned())].into(),
        ..Grants::default()
    }
}

fn get(url: &str) -> Request {
    Request { method: "GET".into(), url: url.into(), headers: vec![], body: vec![], timeout: Duration::from_secs(5) }
}

fn refused(url: &str, http: &[&str]) -> String {
    check(get(url), &grants(http)).err().expect("refused").to_string()
}

#[test]
fn only_listed_hosts_are_reached_and_must_match_exactly() {
    assert!(check(get("https://a.example/x"), &grants(&["a.example"])).is_ok());
    assert!(check(get("https://a.example:8443/x"), &grants(&["a.example:8443"])).is_ok());
    assert_eq!(refused("https://b.example/", &["a.example"]), "requests to b.example are not granted");
    assert_eq!(refused("https://a.example.evil/", &["a.example"]), "requests to a.example.evil are not granted");
    assert_eq!(
        refused("https://a.example:81/", &["a.example"]),
        "requests to a.example:81 are not granted: without a port a.example is its usual one; write a.example:81 both in \
         the request (`---@needs http a.example:81`, or [needs] of plugin.toml) and in the grant"
    );
    assert_eq!(
        refused("https://a.example@evil.example/", &["a.example"]),
        "the URL holds a user name: send an Authorization header instead"
    );
    assert_eq!(refused("ftp://a.example/", &["a.example"]), "the URL is none: write https://host/path");
    assert_eq!(refused("http://127.0.0.1/", &["a.example"]), "requests to 127.0.0.1 are not granted");
}

#[test]
fn a_listed_scheme_is_the_only_one_and_secrets_need_an_explicit_http_entry() {
    assert!(check(get("http://a.example/"), &grants(&["a.example"])).is_ok(), "without a secret");
    assert!(check(get("http://a.example:81/"), &grants(&["http://a.example:81"])).is_ok());
    assert_eq!(refused("http://a.example/", &["https://a.example"]), "requests to a.example are not granted");
    assert_eq!(refused("https://a.example/", &["http://a.example"]), "requests to a.example are not granted");
    let clear = "a secret would be sent to a.example in clear: write https://, or grant it as such: \
                 http: ['http://a.example']";
    assert_eq!(refused("http://a.example/${secret:TOKEN}", &["a.example"]), clear);
    let mut request = get("http://a.example/");
    request.headers.push(("Authorization".into(), "Bearer ${secret:TOKEN}".into()));
    assert_eq!(check(request.clone(), &grants(&["a.example", "https://a.example"])).err().unwrap().to_string(), clear);
    assert!(check(request.clone(), &grants(&["a.example", "http://a.example"])).is_ok());
    request.url = "https://a.example/".into();
    assert!(check(request, &grants(&["a.example"])).is_ok());
}

#[test]
fn a_guest_gets_the_narrower_of_request_and_grant() {
    let hosts = |granted: &[&str], asked: &str| {
        crate::guest::grants::hosts(&granted.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>(), asked)
    };
    assert_eq!(hosts(&["a.example", "http://a.example", "b.example"], "a.example"), ["a.example", "http://a.example"]);
    assert_eq!(hosts(&["a.example"], "https://a.example"), ["https://a.example"]);
    assert!(hosts(&["a.example"], "http://a.example").is_empty());
    assert!(hosts(&["https://a.example"], "http://a.example").is_empty());
    assert!(hosts(&["a.example:81"], "a.example").is_empty());
}

#[test]
fn internal_addresses_are_recognised_in_every_notation() {
    let v4 = [
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
    ];
    for inside in v4 {
        for spelling in [inside.to_owned(), format!("::ffff:{inside}"), format!("64:ff9b::{inside}")] {
            assert!(is_inside(spelling.parse().unwrap()), "{spelling}");
        }
    }
    for inside in ["::1", "::", "fe80::1", "ff02::1", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"] {
        assert!(is_inside(inside.parse().unwrap()), "{inside}");
    }
    for open in ["192.0.2.1", "10.0.0.7", "100.100.100.201", "2001:db8::1", "fd12::1", "64:ff9b::10.0.0.7"] {
        assert!(!is_inside(open.parse().unwrap()), "{open}");
    }
}

#[test]
fn secrets_are_substituted_by_name_and_never_shown() {
    let mut request = get("https://a.example/hook");
    request.headers.push(("Authorization".into(), "Bearer ${secret:TOKEN}".into()));
    let checked = check(request, &grants(&["a.example"])).unwrap();
    assert_eq!(checked.request.headers()["authorization"], "Bearer t0psecret");
    assert!(!format!("{:?}", checked.request).contains("t0psecret"));
    let shown = hide(Failure::Unreachable("connect to a.example/t0psecret failed".into()), &grants(&[])).to_string();
    assert!(!shown.contains("t0psecret"), "{shown}");
    assert!(refused("https://a.example/${secret:OTHER}", &["a.example"]).contains("no secret 'OTHER'"));
}

#[test]
fn a_secret_as_host_is_refused_and_not_shown() {
    for url in [
        "https://${secret:TOKEN}/x",
        "https://${secret:TOKEN}.a.example/",
        "https://a.example:${secret:TOKEN}/",
        "https://${secret:TOKEN}@a.example/",
        "https:///${secret:TOKEN}/x",
        "https://\t/${secret:TOKEN}/x",
        "https:/${secret:TOKEN}/x",
        "https:\\\\${secret:TOKEN}/x",
        "${secret:TOKEN}://a.example/",
        "${secret:TOKEN}",
    ] {
        let shown = refused(url, &["a.example"]);
        assert!(shown.starts_with("a secret stands in the URL's host"), "{url}: {shown}");
    }
    assert!(check(get("https://a.example/${secret:TOKEN}?k=${secret:TOKEN}"), &grants(&["a.example"])).is_ok());
    assert!(check(get("https://a.example?k=${secret:TOKEN}"), &grants(&["a.example"])).is_ok());
}

#[test]
fn a_secret_in_a_response_is_masked() {
    let headers = vec![("location".to_owned(), "https://a.example/t0psecret?x".to_owned())];
    let body = |text: &str| Response { status: 200, headers: headers.clone(), body: text.into() };
    let shown = clean(body("t0psecret, t0psecre and {\"t0psecrett0psecret\"}"), &grants(&[]));
    assert_eq!(shown.headers[0].1, "https://a.example/***?x");
    assert_eq!(shown.body, b"***, t0psecre and {\"******\"}");
    assert_eq!(clean(body("nothing"), &grants(&[])).body, b"nothing");
}

#[test]
fn a_granted_host_without_a_request_is_reported_as_such() {
    let grants = Grants { unasked_hosts: vec!["a.example:81".into()], ..grants(&["a.example"]) };
    assert_eq!(
        check(get("https://a.example:81/"), &grants).err().unwrap().to_string(),
        "requests to a.example:81 are granted but not requested, so not available: ask with \
         `---@needs http a.example:81` or in plugin.toml"
    );
}

#[test]
fn a_name_of_an_internal_address_is_denied_unless_listed() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut resolver = Resolver { inside: false };
    let answer = runtime.block_on(tower_service::Service::call(&mut resolver, "localhost".parse().unwrap()));
    assert!(answer.unwrap_err().to_string().contains("only addresses inside"));
    let web = Web::new(runtime.handle().clone());
    let server = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).unwrap();
        stream
            .write_all(b"HTTP/1.1 302 Found\r\nLocation: http://evil.example/\r\nContent-Length: 2\r\n\r\nhi")
            .unwrap();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    });
    let host = format!("127.0.0.1:{port}");
    let answer = web.send(get(&format!("http://{host}/x")), &grants(&[&host]), 1024).unwrap();
    assert_eq!((answer.status, &*answer.body), (302, &b"hi"[..]), "a redirect is an answer");
    assert!(server.join().unwrap().starts_with("GET /x HTTP/1.1"));
}

#[test]
fn a_secret_that_is_bound_to_a_host_goes_to_that_host_only() {
    let mut grants = grants(&["a.example", "b.example", "a.example:8443"]);
    grants.secrets = [("KEY@a.example", "f0r-a"), ("KEY@a.example:8443", "f0r-8443"), ("ANY", "f0r-any")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let sent = |url: &str, name: &str| {
        let mut request = get(url);
        request.headers.push(("X-Key".into(), format!("${{secret:{name}}}")));
        let checked = check(request, &grants).map_err(|failure| failure.to_string())?;
        Ok::<_, String>(checked.request.headers()["x-key"].to_str().unwrap().to_owned())
    };
    for (url, name, wanted) in [
        ("https://a.example/", "KEY", Ok("f0r-a")),
        ("https://A.example:443/x", "KEY", Ok("f0r-a")),
        ("https://a.example:8443/", "KEY", Ok("f0r-8443")),
        ("https://b.example/", "ANY", Ok("f0r-any")),
        ("https://b.example/", "KEY", Err("the secret 'KEY' is for a.example, a.example:8443 only")),
        ("https://b.example/", "KEY@a.example", Err("there is no secret 'KEY@a.example'")),
        ("https://a.example/", "KEY@a.example", Err("there is no secret 'KEY@a.example'")),
    ] {
        match (sent(url, name), wanted) {
            (Ok(sent), Ok(wanted)) => assert_eq!(sent, wanted, "{url}"),
            (Err(told), Err(wanted)) => assert!(told.contains(wanted) && !told.contains("f0r"), "{url}: {told}"),
            (sent, wanted) => panic!("{url} {name}: {sent:?}, wanted {wanted:?}"),
        }
    }
    assert!(check(get("https://a.example/${secret:KEY}"), &grants).is_ok());
    assert!(check(get("https://b.example/${secret:KEY}"), &grants).is_err());
}
