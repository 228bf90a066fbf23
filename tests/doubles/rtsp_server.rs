//! A camera for tests: a real RTSP server that sends H.264 of GStreamer's test picture. It is a process of its
//! own, because a server can only be frozen (SIGSTOP) or killed together with its process.
//!
//! `rtsp_server [--port N] [--path /P] [--size WxH] [--fps N] [--frames N] [--user NAME --password WORD] [--transport tcp|udp] [--sound] [--tls FILE] [--key-frames N] [--late-ms N]`;
//! it prints the port on one line, serves on the loopback address, and ends when its standard input closes. With
//! `--frames` the stream ends after so many, and begins again for the next who asks. With `--late-ms` its packets come so
//! long after their capture.

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
    let encoder = if gst::ElementFactory::find("x264enc").is_some() {
        format!("x264enc tune=zerolatency speed-preset=ultrafast key-int-max={apart}")
    } else {
        format!("openh264enc gop-size={apart}")
    };
    let factory = server::RTSPMediaFactory::new();
    factory.set_shared(true);
    match option("--transport").as_deref() {
        Some("udp") => factory.set_protocols(server::gst_rtsp::RTSPLowerTrans::UDP),
        Some("tcp") => factory.set_protocols(server::gst_rtsp::RTSPLowerTrans::TCP),
        _ => {}
    }
    let late = match option("--late-ms") {
        Some(ms) => format!(
            "queue min-threshold-time={ms}000000 max-size-time=0 max-size-bytes=0 max-size-buffers=0 silent=true ! "
        ),
        None => String::new(),
    };
    let pictures = format!(
        "( videotestsrc is-live=true pattern=ball num-buffers={frames} ! video/x-raw,format=I420,width={width},height={height},\
         framerate={fps}/1 ! {encoder} ! h264parse ! {late}rtph264pay name=pay0 pt=96 config-interval=1 )"
    );
    let sound = "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )";
    factory.set_launch(if std::env::args().any(|arg| arg == "--sound") { sound } else { &pictures });
    if option("--late-ms").is_some() {
        factory.connect_media_configure(|_, media| state_capture_times(media));
    }
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

/// Lets its sender reports state when a packet was captured, not when it was sent.
fn state_capture_times(media: &server::RTSPMedia) {
    media.connect_prepared(|media| {
        let pipeline = media.element().parent().and_then(|parent| parent.downcast::<gst::Bin>().ok());
        for element in pipeline.into_iter().flat_map(|pipeline| pipeline.iterate_elements()).flatten() {
            if element.factory().is_some_and(|factory| factory.name() == "rtpbin") {
                element.set_property("rtcp-sync-send-time", false);
            }
        }
    });
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
