//! A camera for tests: a real RTSP server that sends H.264 of GStreamer's test picture. It is a process of its
//! own, because a server can only be frozen (SIGSTOP) or killed together with its process.
//!
//! `rtsp_server [--port N] [--path /P] [--size WxH] [--fps N] [--frames N] [--user NAME --password WORD] [--transport tcp|udp] [--sound] [--tls FILE] [--key-frames N] [--pattern NAME] [--bitrate KBIT] [--codec h264|h265]`;
//! it prints the port on one line, serves on the loopback address, and ends when its standard input closes. With
//! `--frames` the stream ends after so many, and begins again for the next who asks.

#![allow(clippy::print_stdout, clippy::expect_used, clippy::panic, reason = "a test double is a program of its own")]

use std::io::Read;
use std::thread;

use gstreamer as gst;
use gstreamer::glib;
use gstreamer_rtsp_server as server;
use gstreamer_rtsp_server::prelude::*;

fn option(name: &str) -> Option<String> {
    let mut args = std::env::args().skip_while(|arg| arg != name);
    args.next().and(args.next())
}

fn main() {
    gst::init().expect("GStreamer starts");
    let size = option("--size").unwrap_or_else(|| "320x240".into());
    let (width, height) = size.split_once('x').expect("--size WxH");
    let fps = option("--fps").unwrap_or_else(|| "25".into());
    let frames = option("--frames").unwrap_or_else(|| "-1".into());
    let apart = option("--key-frames").unwrap_or_else(|| "25".into());
    let pattern = option("--pattern").unwrap_or_else(|| "ball".into());
    let bitrate = option("--bitrate").unwrap_or_else(|| "2048".into());
    let is_h265 = option("--codec").as_deref() == Some("h265");
    let coded = if is_h265 {
        format!(
            "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={apart} bitrate={bitrate} \
             ! h265parse ! rtph265pay"
        )
    } else if gst::ElementFactory::find("x264enc").is_some() {
        format!(
            "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={apart} bitrate={bitrate} \
             ! h264parse ! rtph264pay"
        )
    } else {
        format!("openh264enc gop-size={apart} ! h264parse ! rtph264pay")
    };
    let factory = server::RTSPMediaFactory::new();
    factory.set_shared(true);
    match option("--transport").as_deref() {
        Some("udp") => factory.set_protocols(server::gst_rtsp::RTSPLowerTrans::UDP),
        Some("tcp") => factory.set_protocols(server::gst_rtsp::RTSPLowerTrans::TCP),
        _ => {}
    }
    let pictures = format!(
        "( videotestsrc is-live=true pattern={pattern} num-buffers={frames} ! video/x-raw,format=I420,width={width},height={height},\
         framerate={fps}/1 ! {coded} name=pay0 pt=96 config-interval=1 )"
    );
    let sound = "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )";
    factory.set_launch(if std::env::args().any(|arg| arg == "--sound") { sound } else { &pictures });
    let camera = server::RTSPServer::new();
    camera.set_address("127.0.0.1");
    camera.set_service(&option("--port").unwrap_or_else(|| "0".into()));
    if let (Some(user), Some(password)) = (option("--user"), option("--password")) {
        guard(&camera, &factory, &user, &password);
    }
    if let Some(file) = option("--tls") {
        encrypt(&camera, &factory, &file);
    }
    let mounts = camera.mount_points().expect("a server has mount points");
    mounts.add_factory(&option("--path").unwrap_or_else(|| "/cam".into()), factory);
    let _attached = camera.attach(None).expect("the port is free");
    println!("{}", camera.bound_port());

    let main = glib::MainLoop::new(None, false);
    let quit = main.clone();
    thread::spawn(move || {
        // Whoever started the double is gone when this ends, however it went.
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        quit.quit();
    });
    main.run();
}

/// Lets only `user` in.
fn guard(camera: &server::RTSPServer, factory: &server::RTSPMediaFactory, user: &str, password: &str) {
    let auth = server::RTSPAuth::new();
    let token = server::RTSPToken::builder().field("media.factory.role", "viewer").build();
    auth.add_basic(&server::RTSPAuth::make_basic(user, password), &token);
    camera.set_auth(Some(&auth));
    let role = gst::Structure::builder("viewer").field("media.factory.access", true);
    factory.add_role_from_structure(&role.field("media.factory.construct", true).build());
}

/// Speaks TLS only, with the certificate and key in a PEM file, to everybody.
fn encrypt(camera: &server::RTSPServer, factory: &server::RTSPMediaFactory, file: &str) {
    let auth = server::RTSPAuth::new();
    let certificate = server::gio::TlsCertificate::from_file(file).expect("a certificate and a key");
    auth.set_tls_certificate(Some(&certificate));
    let anybody = server::RTSPToken::builder().field("media.factory.role", "anybody").build();
    auth.set_default_token(Some(&mut anybody.clone()));
    camera.set_auth(Some(&auth));
    let role = gst::Structure::builder("anybody").field("media.factory.access", true);
    factory.add_role_from_structure(&role.field("media.factory.construct", true).build());
}
