"""A complete RTSP server for tests, run by Debian's Python with GStreamer: TCP, UDP, authentication, B-frames.

    /usr/bin/python3 gst_rtsp_server.py [--port N] [--transport tcp|udp] [--user U --password P]
        (--file FILE | --live WxH [--then WxH SECONDS])

Serves one mount, /cam, prints "ready PORT" when it listens, and ends when its standard input does, so that it never
outlives the test that started it. Files are H.264 in MP4 or Matroska and are played in real time, once a connection;
--live is an endless moving test picture at 10 frames a second, which changes its size after SECONDS.
"""

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
gi.require_version("GstRtsp", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

MOUNT = "/cam"
DEMUXERS = {".mp4": "qtdemux", ".mov": "qtdemux", ".mkv": "matroskademux"}
# The parser repeats the parameter sets at key frames. The payloader's own config-interval would put them before every
# slice, in the middle of a picture that has several, and FFmpeg then takes each slice for a picture of its own.
PAYLOAD = "h264parse config-interval=-1 ! rtph264pay name=pay0 pt=96"


def live_caps(size):
    width, height = size.split("x")
    return f"video/x-raw,format=I420,width={width},height={height},framerate=10/1"


class ChangingSize(GstRtspServer.RTSPMediaFactory):
    """Changes the size of the picture once, some seconds after the first client came."""

    def __init__(self, then, seconds):
        super().__init__()
        self.then, self.seconds = then, seconds

    def do_configure(self, media):
        caps = media.get_element().get_by_name("size")
        GLib.timeout_add(
            int(self.seconds * 1000),
            lambda: caps.set_property("caps", Gst.Caps.from_string(live_caps(self.then))) and False,
        )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--transport", choices=["tcp", "udp"], help="offer this one alone")
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--file")
    parser.add_argument("--live")
    parser.add_argument("--then", nargs=2, metavar=("WxH", "SECONDS"))
    arguments = parser.parse_args()
    Gst.init(None)

    if arguments.file:
        demuxer = next(d for suffix, d in DEMUXERS.items() if arguments.file.endswith(suffix))
        launch = f'( filesrc location="{arguments.file}" ! {demuxer} ! {PAYLOAD} )'
    else:
        launch = (
            f"( videotestsrc is-live=true pattern=ball ! capsfilter name=size caps={live_caps(arguments.live)} "
            f"! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=10 threads=1 ! {PAYLOAD} )"
        )
    if arguments.then:
        factory = ChangingSize(arguments.then[0], float(arguments.then[1]))
    else:
        factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(launch)
    # A pipeline for each client: where two join a shared one at the same time, GStreamer 1.22 fails now and then, by an
    # assertion (gst_rtsp_media_get_rates) or by never answering again.
    factory.set_shared(bool(arguments.then))
    if arguments.transport:
        factory.set_protocols(getattr(GstRtsp.RTSPLowerTrans, arguments.transport.upper()))

    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(arguments.port))
    if arguments.user:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(arguments.user, arguments.password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory(MOUNT, factory)
    if server.attach(None) == 0:
        sys.exit(f"cannot listen on 127.0.0.1:{arguments.port}")
    print("ready", server.get_bound_port(), flush=True)
    loop = GLib.MainLoop()
    GLib.io_add_watch(sys.stdin, GLib.PRIORITY_DEFAULT, GLib.IOCondition.HUP, lambda *_: loop.quit())
    loop.run()


if __name__ == "__main__":
    main()
