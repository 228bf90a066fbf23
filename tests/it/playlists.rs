//! A clip is one file: what names other files or addresses is told so, and nothing of it is opened.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Dsengine, skip, write};

/// An address at which connections are counted.
struct Inside {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Inside {
    fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for _ in listener.incoming() {
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { address, connections }
    }
}

/// A clip of ten frames, which a playlist can point to.
fn clip(dir: &Path) -> PathBuf {
    let path = dir.join("other.mp4");
    let scene = "seed: 1\nduration_s: 1\nfps: 10\nwidth: 160\nheight: 120\n\
                 camera: { height_m: 4, pitch_deg: 12, focal: 0.9 }\nnoise: 2\n\
                 objects: [{ kind: person, speed_mps: 1.5, path: [[-4, 9], [4, 9]] }]\n";
    write(dir, "scene.yaml", scene);
    Dsengine::new(["scene", "render", "other.mp4", "--scene", "scene.yaml"]).cwd(dir).run().expect(0);
    path
}

/// Files that name `target`, by what they are called in the message.
fn playlists(target: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "playlist (HLS)",
            format!("#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n"),
        ),
        ("playlist (HLS)", format!("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\n{target}\n")),
        (
            "playlist (DASH)",
            format!(
                "<?xml version=\"1.0\"?>\n<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" \
                 mediaPresentationDuration=\"PT4S\" minBufferTime=\"PT1S\" profiles=\"urn:mpeg:dash:profile:isoff-main:2011\">\
                 <Period><AdaptationSet mimeType=\"video/mp4\"><Representation id=\"1\" bandwidth=\"1000\" codecs=\"avc1.42c00d\">\
                 <BaseURL>{target}</BaseURL><SegmentBase indexRange=\"0-100\"/></Representation></AdaptationSet></Period></MPD>\n"
            ),
        ),
        (
            "playlist (Smooth Streaming)",
            format!(
                "<?xml version=\"1.0\"?>\n<SmoothStreamingMedia MajorVersion=\"2\" MinorVersion=\"0\" Duration=\"40000000\">\
                 <StreamIndex Type=\"video\" Chunks=\"1\" Url=\"{target}\"><QualityLevel Index=\"0\" Bitrate=\"1000\" \
                 FourCC=\"H264\" MaxWidth=\"160\" MaxHeight=\"120\" CodecPrivateData=\"00\"/><c d=\"40000000\"/></StreamIndex>\
                 </SmoothStreamingMedia>\n"
            ),
        ),
        (
            "description of a session",
            "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=cam\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\na=control:rtsp://127.0.0.1:9/x\r\n\
             m=video 5004 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n"
                .to_owned(),
        ),
        ("", format!("[playlist]\nNumberOfEntries=1\nFile1={target}\nLength1=-1\nVersion=2\n")),
        ("", format!("{target}\n")),
        ("", format!("<asx version=\"3.0\"><entry><ref href=\"{target}\"/></entry></asx>\n")),
        ("", format!("ffconcat version 1.0\nfile '{target}'\n")),
        (
            "",
            format!(
                "<?xml version=\"1.0\"?><playlist version=\"1\" xmlns=\"http://xspf.org/ns/0/\"><trackList><track>\
                 <location>{target}</location></track></trackList></playlist>\n"
            ),
        ),
    ]
}

#[test]
fn a_file_that_names_others_is_told_so_and_opens_none() {
    let dir = tempfile::tempdir().unwrap();
    let other = clip(dir.path());
    let inside = Inside::listen();
    for target in [format!("http://{}/other.mp4", inside.address), format!("file://{}", other.display())] {
        for (what, text) in playlists(&target) {
            write(dir.path(), "clip.mp4", &text);
            let out = Dsengine::new(["run", "--source", "clip.mp4", "--port", "0"]).cwd(dir.path()).run().expect(1);
            let said = format!("{}{}", out.stdout, out.stderr);
            assert!(said.contains("clip: 0 frames"), "{text}\n{said}");
            if !what.is_empty() {
                assert!(said.contains(what) && said.contains("none of them is opened"), "{text}\n{said}");
            }
            // Never a library's words.
            assert!(!said.contains("general stream error") && !said.contains("Internal data stream"), "{text}\n{said}");
        }
    }
    assert_eq!(inside.connections.load(Ordering::SeqCst), 0, "nobody was asked");
    // The clip itself is one.
    let out = Dsengine::new(["run", "--source", "other.mp4", "--port", "0"]).cwd(dir.path()).run().expect(0);
    assert!(out.stdout.contains("other: 10 frames"), "{}", out.stdout);
}

#[test]
fn a_clip_is_the_only_media_file_that_is_opened_and_nobody_is_asked() {
    let test = "playlists::a_clip_is_the_only_media_file_that_is_opened";
    if std::process::Command::new("strace").args(["-f", "true"]).output().is_ok_and(|out| out.status.success()) {
        let dir = tempfile::tempdir().unwrap();
        let other = clip(dir.path());
        let list = playlists(&format!("file://{}", other.display())).swap_remove(0).1;
        for (name, text) in [("list.mp4", Some(list)), ("clip.mp4", None)] {
            match text {
                Some(text) => drop(write(dir.path(), name, &text)),
                None => drop(std::fs::copy(&other, dir.path().join(name)).unwrap()),
            }
            let strace = ["-f", "-e", "trace=openat,open,connect", "-o", "calls"];
            let run =
                Dsengine::new(["run", "--source", name, "--port", "0"]).cwd(dir.path()).by("strace", &strace).run();
            let calls = std::fs::read_to_string(dir.path().join("calls")).unwrap();
            assert!(calls.lines().any(|call| call.contains(name)), "{}\n{calls}", run.stderr);
            let others: Vec<&str> = calls
                .lines()
                .filter(|call| call.contains("other.mp4") || (call.contains("connect(") && call.contains("AF_INET")))
                .collect();
            assert!(others.is_empty(), "{name}: {others:?}");
        }
    } else {
        skip(test, "strace is not installed, or may not trace here");
    }
}
