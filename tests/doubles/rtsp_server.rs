//! A camera for tests: a real RTSP server that sends H.264 of GStreamer's test picture. It is a process of its
//! own, because a server can only be frozen (SIGSTOP) or killed together with its process.
//!
//! `rtsp_server [--port N] [--path /P] [--size WxH] [--fps N] [--frames N] [--user NAME --password WORD] [--transport tcp|udp] [--sound] [--tls FILE] [--key-frames N] [--pattern NAME] [--bitrate KBIT] [--codec h264|h265|vp8|jpeg] [--resize WxH --after N] [--late-ms N]`;
//! it prints the port on one line, serves on the loopback address, and ends when its standard input closes. With
//! `--frames` the stream ends after so many, and begins again for the next who asks. With `--resize` the picture has
//! another size from the frame `--after` on. With `--late-ms` its packets come so long after their capture.

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
    let encoder = encoder(&option("--codec").unwrap_or_else(|| "h264".into()), &apart, &bitrate, &late);
    let pictures = format!(
        "( videotestsrc name=picture is-live=true pattern={pattern} num-buffers={frames} ! capsfilter name=size \
         caps=video/x-raw,format=I420,width={width},height={height},framerate={fps}/1 ! {encoder} )"
    );
    let sound = "( audiotestsrc is-live=true ! alawenc ! rtppcmapay name=pay0 pt=8 )";
    factory.set_launch(if std::env::args().any(|arg| arg == "--sound") { sound } else { &pictures });
    if let (Some(size), Some(after)) = (option("--resize"), option("--after")) {
        resize(&factory, size, after.parse().expect("--after N"));
    }
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

/// The encoder and the payloader of a codec, with `late` between them; `bitrate` in kbit/s, for H.264 and H.265.
fn encoder(codec: &str, apart: &str, bitrate: &str, late: &str) -> String {
    match codec {
        "h264" if gst::ElementFactory::find("x264enc").is_none() => {
            format!("openh264enc gop-size={apart} ! h264parse ! {late}rtph264pay name=pay0 pt=96 config-interval=1")
        }
        "h264" => format!(
            "x264enc tune=zerolatency speed-preset=ultrafast key-int-max={apart} bitrate={bitrate} ! h264parse \
             ! {late}rtph264pay name=pay0 pt=96 config-interval=1"
        ),
        "h265" => format!(
            "x265enc tune=zerolatency speed-preset=ultrafast key-int-max={apart} bitrate={bitrate} ! h265parse \
             ! {late}rtph265pay name=pay0 pt=96 config-interval=1"
        ),
        "vp8" => format!("vp8enc deadline=1 cpu-used=8 keyframe-max-dist={apart} ! {late}rtpvp8pay name=pay0 pt=96"),
        "jpeg" => format!("jpegenc ! {late}rtpjpegpay name=pay0 pt=26"),
        other => panic!("no codec {other}"),
    }
}

/// Gives the picture another size after so many frames of each session.
fn resize(factory: &server::RTSPMediaFactory, size: String, after: u64) {
    factory.connect_media_configure(move |_, media| {
        let bin = media.element().downcast::<gst::Bin>().expect("the launch line makes a bin");
        let filter = bin.by_name("size").expect("it has a filter for the size");
        let picture = bin.by_name("picture").expect("it has a picture");
        let (width, height) = size.split_once('x').expect("--resize WxH");
        let (width, height): (i32, i32) = (width.parse().expect("a width"), height.parse().expect("a height"));
        let frames = std::sync::atomic::AtomicU64::new(0);
        let pad = picture.static_pad("src").expect("it has an output");
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            if frames.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == after {
                let mut caps = filter.property::<gst::Caps>("caps");
                caps.make_mut().set("width", width);
                caps.make_mut().set("height", height);
                filter.set_property("caps", caps);
            }
            gst::PadProbeReturn::Ok
        });
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
