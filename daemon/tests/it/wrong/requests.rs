//! What is wrong with a request to each route: what is asked, the status and what the message says.

/// What is asked, the status and a part of the message.
pub(super) type Wrong = (&'static str, u16, &'static str);

/// What is said of a tag that is none.
const TAG_FORMAT: &str = "invalid tag format";
/// What is said of a name that is none.
pub(super) const NAME_FORMAT: &str = "invalid reference format";
pub(super) const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Filters that are wrong wherever filters are.
#[rustfmt::skip]
pub(super) const FILTERS: [(&str, &str); 6] = [
    ("x", "invalid filter"),
    ("[]", "invalid filter"),
    ("%7B", "invalid filter"),
    ("%7B%22nope%22:%5B%22x%22%5D%7D", "invalid filter 'nope'"),
    ("%7B%22until%22:%5B1%5D%7D", "invalid filter"),
    ("%7B%22until%22:%7B%22x%22:1%7D%7D", "invalid filter"),
];

/// Names that are wrong for an image to be found by, after `/images/` or the like, and what is said of each.
#[rustfmt::skip]
pub(super) const NAMES: [(&str, u16, &str); 10] = [
    ("", 400, "image name cannot be blank"),
    ("%20", 400, ""),
    ("nope", 404, "No such image: nope:latest"),
    ("nope:1", 404, "No such image: nope:1"),
    ("Upper", 400, "repository name (Upper) must be lowercase"),
    ("a%20b", 400, NAME_FORMAT),
    ("a:b:c", 400, NAME_FORMAT),
    ("a%00b", 400, NAME_FORMAT),
    ("sha256:00", 404, "No such image: sha256:00"),
    ("a@sha256:00", 400, NAME_FORMAT),
];

/// What is wrong with one route and not with others.
#[rustfmt::skip]
pub(super) const WRONG: &[(&str, &[Wrong])] = &[
    (
        "POST /mica/check",
        &[("/mica/check?level=deep", 400, "unknown level \"deep\"")],
    ),
    (
        "GET /images/json",
        &[
            ("/images/json?filters=%7B%22dangling%22:%5B%22x%22%5D%7D", 400, "invalid filter 'dangling=[x]'"),
            ("/images/json?filters=%7B%22until%22:%5B%22x%22%5D%7D", 400, "invalid filter 'until=[x]'"),
            ("/images/json?filters=%7B%22until%22:%5B%221h%22,%222h%22%5D%7D", 400, "more than one until filter"),
            ("/images/json?filters=%7B%22before%22:%5B%22nope%22%5D%7D", 404, "No such image: nope:latest"),
            ("/images/json?filters=%7B%22since%22:%5B%22Upper%22%5D%7D", 400, "must be lowercase"),
            ("/images/json?filters=%7B%22reference%22:%5B%22%5B%22%5D%7D", 400, "[\""),
        ],
    ),
    (
        "GET /images/get",
        &[
            ("/images/get", 400, "no image names given"),
            ("/images/get?names=", 400, "blank"),
            ("/images/get?names=a:1&names=nope", 404, "No such image: nope:latest"),
            ("/images/get?names=a:1&platform=x", 400, "failed to parse platform"),
            ("/images/get?names=a:1&platform=%7B%22os%22:%22x%22,%22architecture%22:%22y%22%7D", 400, "x/y"),
        ],
    ),
    (
        "GET /images/{name}/get",
        &[("/images/a:1/get?platform=%5B%5D", 400, "failed to parse platform")],
    ),
    (
        "GET /images/{name}/json",
        &[
            ("/images/a:1/json?platform=x", 400, "failed to parse platform"),
            ("/images/a:1/json?manifests=1&platform=%7B%22os%22:%22linux%22,%22architecture%22:%22amd64%22%7D", 400, "manifests and platform"),
            ("/images/a:1/json?platform=%7B%22os%22:%22linux%22,%22architecture%22:%22s390x%22%7D", 404, "does not match the specified platform"),
        ],
    ),
    ("GET /images/{name}/history", &[("/images/a:1/history?platform=x", 400, "failed to parse platform")]),
    (
        "POST /images/{name}/tag",
        &[
            ("/images/a:1/tag", 400, NAME_FORMAT),
            ("/images/a:1/tag?repo=", 400, NAME_FORMAT),
            ("/images/a:1/tag?repo=Upper", 400, "(Upper) must be lowercase"),
            ("/images/a:1/tag?repo=b&tag=%20", 400, TAG_FORMAT),
            ("/images/a:1/tag?repo=b&tag=-x", 400, TAG_FORMAT),
            ("/images/a:1/tag?repo=sha256", 400, "ambiguous"),
            ("/images/a:1/tag?repo=b@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", 400, "digest reference"),
        ],
    ),
    (
        "DELETE /images/{name}",
        &[("/images/a:1?platforms=x", 400, "failed to parse platform")],
    ),
    (
        "POST /images/{name}/push",
        &[
            ("/images/Upper/push", 400, "must be lowercase"),
            ("/images/a%20b/push", 400, NAME_FORMAT),
            ("/images/a:1/push?tag=%20", 400, TAG_FORMAT),
            ("/images/a:1/push?platform=x", 400, "failed to parse platform"),
            ("/images/a:1/push?compression=lz4", 400, "\"lz4\""),
            ("/images/a:1/push?tag=1&images=%5B%5D", 400, "0 images, not 1 to 32"),
            ("/images/a/push?images=%5B%7B%22Platform%22:%22linux/arm64%22,%22ID%22:%22sha256:00%22%7D%5D", 400, "image \"sha256:00\""),
            ("/images/a/push?images=%5B%7B%22Platform%22:%22plan/9%22,%22ID%22:%22x%22%7D%5D", 400, "plan/9"),
            ("/images/a@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855/push", 400, "cannot push a digest reference"),
        ],
    ),
    (
        "POST /images/create",
        &[
            ("/images/create", 400, NAME_FORMAT),
            ("/images/create?fromImage=Upper", 400, "must be lowercase"),
            ("/images/create?fromImage=scratch", 403, "'scratch' is a reserved name"),
            ("/images/create?fromImage=a&tag=%20", 400, TAG_FORMAT),
            ("/images/create?fromImage=a&tag=sha256:00", 400, "invalid digest \"sha256:00\""),
            ("/images/create?fromImage=a&tag=1&platform=plan9", 400, "\"plan9\": unknown operating system"),
            ("/images/create?fromSrc=-&repo=Upper", 400, "must be lowercase"),
            ("/images/create?fromSrc=-&repo=a&tag=%20", 400, TAG_FORMAT),
            ("/images/create?fromSrc=-&platform=x/y/z/w", 400, "unknown operating system"),
        ],
    ),
    (
        "POST /images/load",
        &[("/images/load?platform=x", 400, "failed to parse platform")],
    ),
    (
        "POST /images/prune",
        &[("/images/prune?filters=%7B%22dangling%22:%5B%22x%22%5D%7D", 400, "invalid filter 'dangling=[x]'")],
    ),
    (
        "GET /distribution/{name}/json",
        &[
            ("/distribution/Upper/json", 400, "must be lowercase"),
            ("/distribution/a%20b/json", 400, NAME_FORMAT),
            ("/distribution//json", 400, NAME_FORMAT),
        ],
    ),
    (
        "GET /mica/manifest/{name}",
        &[
            ("/mica/manifest/Upper", 400, "must be lowercase"),
            ("/mica/manifest/a%20b", 400, NAME_FORMAT),
            ("/mica/manifest/", 400, NAME_FORMAT),
        ],
    ),
    (
        "POST /build",
        &[
            ("/build?version=3", 400, "invalid version \"3\""),
            ("/build?version=3", 400, "invalid version"),
            // BuildKit's way in
            ("/build?version=2&remote=client-session", 400, "names no session"),
            ("/build?version=2&remote=client-session&session=nobody", 404, "no active session for nobody"),
            ("/build?version=2&remote=upload-request", 400, "needs a buildid"),
            ("/build?version=2&buildid=upload-request:nobody", 404, "no such job nobody"),
            ("/build?version=2&t=A", 400, "must be lowercase"),
            ("/build?version=2&outputs=x", 400, "outputs"),
            ("/build?version=2&outputs=%5B%7B%22Type%22:%22tar%22%7D,%7B%22Type%22:%22local%22%7D%5D", 400, "multiple outputs"),
            ("/build?version=2&outputs=%5B%7B%22Type%22:%22paper%22%7D%5D", 501, "\"paper\" is not supported"),
            ("/mica/build?version=2", 400, "/build"),
            ("/build?t=Upper", 400, "must be lowercase"),
            ("/build?t=a%20b", 400, NAME_FORMAT),
            ("/build?platform=plan9", 400, "\"plan9\""),
            ("/build?networkmode=container:x", 400, "\"container:x\""),
            ("/build?extrahosts=x", 400, "\"x\""),
            ("/build?extrahosts=h:nowhere", 400, "nowhere"),
            ("/build?buildargs=x", 400, "buildargs"),
            ("/build?buildargs=%5B%5D", 400, "buildargs"),
            ("/build?labels=%7B%22a%22:1%7D", 400, "labels: a "),
            ("/build?cachefrom=%7B%7D", 400, "cachefrom"),
            ("/build?cachefrom=%5B%22type=s3%22%5D", 501, "\"type=s3\""),
            ("/build?ulimits=x", 400, "ulimits"),
            ("/build?ulimits=%5B%7B%7D%5D", 400, "ulimits"),
            ("/build?shmsize=x", 400, "shmsize: \"x\""),
            ("/build?memory=x", 400, "memory: \"x\""),
            ("/build?memory=1000", 400, "Minimum memory limit allowed is 6MB"),
            ("/build?cgroupparent=..", 400, "cgroup parent"),
            ("/build?shmsize=-1", 400, "SHM size"),
            ("/build?shmsize=99999999999999999999", 400, "shmsize"),
            ("/build?isolation=hyperv", 400, "\"hyperv\""),
            ("/build?securityopt=x", 400, "security options"),
            ("/build?squash=1", 400, "squash"),
            ("/build?remote=gopher://x/y", 400, "gopher://x/y"),
            ("/build?target=nope", 400, "nope"),
            ("/build?dockerfile=nope", 500, "nope"),
        ],
    ),
    (
        "POST /mica/build",
        &[
            ("/mica/build?input=x", 400, "invalid value for input"),
            ("/mica/build?input=%7B%22nope%22:1%7D", 400, "nope"),
            ("/mica/build?input=%7B%22context%22:%7B%22folder%22:0%7D%7D", 400, "descriptor 0"),
            ("/mica/build?input=%7B%22context%22:%7B%22folder%22:-1%7D%7D", 400, "input"),
            ("/mica/build?input=%7B%22secrets%22:%7B%22a%22:3%7D%7D", 400, "descriptor 3"),
            ("/mica/build?input=%7B%22agents%22:%7B%22a%22:3%7D%7D", 400, "descriptor 3"),
            ("/mica/build?input=%7B%22dockerfile%22:9%7D", 400, "descriptor 9"),
            ("/mica/build?input=%7B%22allow%22:%5B%22all%22%5D%7D", 400, "\"all\""),
            ("/mica/build?shmsize=x", 400, "shmsize: \"x\""),
        ],
    ),
    (
        "POST /build/prune",
        &[
            ("/build/prune?keep-storage=x", 400, "keep-storage is in bytes and expects an integer, got x"),
            ("/build/prune?reserved-space=1GB", 400, "reserved-space is in bytes and expects an integer, got 1GB"),
            ("/build/prune?max-used-space=1.5", 400, "max-used-space is in bytes and expects an integer, got 1.5"),
            ("/build/prune?min-free-space=%20x", 400, "min-free-space"),
            ("/build/prune?filters=%7B%22unused-for%22:%5B%22soon%22%5D%7D", 400, "\"unused-for\" filter expects a duration"),
            ("/build/prune?filters=%7B%22until%22:%5B%221h%22,%222h%22%5D%7D", 400, "only one value"),
            ("/build/prune?filters=%7B%22inuse%22:%5B%22x%22%5D%7D", 400, "inuse=[x]"),
        ],
    ),
    (
        "POST /build/cancel",
        &[
            ("/build/cancel", 400, "build ID not provided"),
            ("/build/cancel?id=", 400, "build ID not provided"),
        ],
    ),
    (
        "GET /mica/logs/{build}",
        &[
            ("/mica/logs/", 400, "invalid build ID \"\""),
            ("/mica/logs/nope", 400, "invalid build ID \"nope\""),
            ("/mica/logs/..%2f..%2fx", 404, "page not found"),
            ("/mica/logs/000000000000", 404, "000000000000"),
        ],
    ),
    (
        "POST /mica/debug/{build}",
        &[
            ("/mica/debug/nope", 400, "invalid build ID \"nope\""),
            ("/mica/debug/000000000000", 400, "descriptor 0"),
            ("/mica/debug/000000000000?command=x", 400, "invalid value for command"),
        ],
    ),
    ("POST /auth", &[("/auth", 400, "line 1, column 0 of the body")]),
    (
        "GET /containers/{id}",
        &[("/containers/x", 404, "No such container: x")],
    ),
    (
        "DELETE /containers/{id}",
        &[("/containers/x?force=1", 404, "No such container: x")],
    ),
    (
        "GET /containers/{id}/{rest}",
        &[
            ("/containers/x/json", 404, "No such container: x"),
            ("/containers/x/logs?follow=1", 404, "No such container: x"),
        ],
    ),
    (
        "POST /containers/{id}/{rest}",
        &[("/containers/x/start", 404, "No such container: x")],
    ),
    (
        "POST /containers/create",
        &[("/containers/create?name=x", 501, "does not run containers")],
    ),
    (
        "POST /commit",
        &[("/commit?container=x", 404, "No such container: x")],
    ),
    (
        "GET /networks/{id}",
        &[("/networks/x", 404, "network x not found")],
    ),
    ("GET /volumes/{id}", &[("/volumes/x", 404, "x: no such volume")]),
    (
        "GET /plugins/{name}/json",
        &[("/plugins/a/b:c/json", 404, "plugin \"a/b:c\" not found")],
    ),
    (
        "POST /networks/create",
        &[("/networks/create", 501, "no networks")],
    ),
    ("POST /volumes/create", &[("/volumes/create", 501, "no volumes")]),
    (
        "POST /exec/{id}/{rest}",
        &[("/exec/x/start", 501, "does not run containers")],
    ),
    (
        "GET /events",
        &[
            ("/events?since=soon", 400, "since: \"soon\""),
            ("/events?until=1x", 400, "until: \"1x\""),
            ("/events?since=1h&until=2h", 400, "cannot be after"),
            ("/events?filters=x&until=1", 400, "invalid filter"),
            ("/events?filters=%7B%22type%22:1%7D&until=1", 400, "invalid filter"),
        ],
    ),
    (
        "GET /system/df",
        &[
            ("/system/df?type=x", 400, "unknown object type: x"),
            ("/system/df?type=image&type=", 400, "unknown object type: "),
        ],
    ),
    (
        "GET /images/search",
        &[
            ("/images/search", 400, "search term is required"),
            ("/images/search?term=", 400, "search term is required"),
            ("/images/search?term=a&limit=x", 400, "\"x\" is not a number"),
            ("/images/search?term=a&limit=101", 400, "limit 101 is outside the range"),
            ("/images/search?term=a&limit=-1", 400, "limit -1 is outside the range"),
            ("/images/search?term=a&filters=x", 400, "invalid filter"),
            ("/images/search?term=a&filters=%7B%22nope%22:%5B%22x%22%5D%7D", 400, "invalid filter 'nope'"),
            ("/images/search?term=a&filters=%7B%22stars%22:%5B%22x%22%5D%7D", 400, "stars=x"),
            ("/images/search?term=a&filters=%7B%22is-official%22:%5B%22x%22%5D%7D", 400, "is-official=[x]"),
        ],
    ),
    ("GET /services", &[("/services", 503, "not a swarm manager")]),
];

/// Routes that take filters.
#[rustfmt::skip]
pub(super) const FILTERED: [&str; 3] = ["GET /images/json", "POST /images/prune", "POST /build/prune"];

/// Routes that look an image up by its name.
#[rustfmt::skip]
pub(super) const NAMED: [&str; 5] = [
    "GET /images/{name}/json",
    "GET /images/{name}/history",
    "GET /images/{name}/get",
    "POST /images/{name}/tag",
    "DELETE /images/{name}",
];
