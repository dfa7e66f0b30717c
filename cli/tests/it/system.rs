//! `mica system df` and `mica system prune`, as docker's command line shows the same answers.

use std::io::Write as _;
use std::process::Stdio;

use crate::fake::{Fake, Reply, reply};

/// An answer to `/system/df`; everything in it was made and used three days ago.
fn usage() -> Reply {
    let then = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - 73 * 3600;
    let date = std::process::Command::new("date")
        .args(["-u", "-d", &format!("@{then}"), "+%Y-%m-%dT%H:%M:%SZ"])
        .output()
        .unwrap();
    let date = String::from_utf8(date.stdout).unwrap();
    let (one, two) = ("1".repeat(64), "2".repeat(64));
    let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
    let text = format!(
        r#"{{"LayersSize":123456789,
        "Images":[
            {{"Id":"sha256:{one}","RepoTags":["busybox:latest","ghcr.io/o/n:2"],"RepoDigests":[],"Created":{then},
              "Size":120000000,"SharedSize":20000000,"Labels":null,"Containers":1}},
            {{"Id":"sha256:{two}","RepoTags":[],"RepoDigests":[],"Created":{then},"Size":23456789,"SharedSize":20000000,
              "Labels":null,"Containers":0}}],
        "Containers":[
            {{"Id":"{c}","Names":["/web","/other/web"],"Image":"nginx:1","ImageID":"sha256:{one}",
              "Command":"/docker-entrypoint.sh nginx","Created":{then},"State":"running","Status":"Up 2 hours","SizeRw":1234,
              "SizeRootFs":9999,"Mounts":[{{"Name":"data","Driver":"local"}}]}},
            {{"Id":"{b}","Names":["/gone"],"Image":"sha256:{two}","ImageID":"sha256:{two}","Command":"sh","Created":{then},
              "State":"exited","Status":"Exited (0) 2 days ago","SizeRw":1000,"Mounts":null}}],
        "Volumes":[
            {{"Name":"data","Driver":"local","UsageData":{{"RefCount":1,"Size":5000}}}},
            {{"Name":"idle","Driver":"local","UsageData":{{"RefCount":0,"Size":7000}}}},
            {{"Name":"odd","Driver":"local","UsageData":{{"RefCount":-1,"Size":-1}}}}],
        "BuildCache":[
            {{"ID":"{a}","Type":"regular","Description":"RUN a && b","InUse":false,"Shared":true,"Size":5000000,
              "CreatedAt":"{date}","LastUsedAt":"{date}","UsageCount":3}},
            {{"ID":"{b}","Type":"exec.cachemount","Description":"/root/.cache","InUse":true,"Shared":false,"Size":1500,
              "CreatedAt":"{date}","LastUsedAt":"{date}","UsageCount":12}},
            {{"ID":"{c}","Type":"regular","Description":"COPY . .","InUse":false,"Shared":false,"Size":7805123,
              "CreatedAt":"{date}","LastUsedAt":null,"UsageCount":1}}]}}"#,
        date = date.trim()
    );
    reply(200, text)
}

#[test]
fn disk_usage_is_a_table() {
    let fake = Fake::new([usage()]);
    assert_eq!(
        fake.run(&["system", "df"]).stdout,
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
         Images          2         1         123.5MB   23.46MB (18%)\n\
         Containers      2         1         2.234kB   1kB (44%)\n\
         Local Volumes   3         1         12kB      7kB (58%)\n\
         Build Cache     3         1         7.807MB   7.805MB\n"
    );
    assert_eq!(fake.lines(), ["GET /v1.51/system/df"]);
    assert_eq!(
        fake.run(&["system", "df", "--format", "{{.Type}}: {{.TotalCount}} {{.Size}}"])
            .stdout,
        "Images: 2 123.5MB\nContainers: 2 2.234kB\nLocal Volumes: 3 12kB\nBuild Cache: 3 7.807MB\n"
    );
    assert_eq!(
        fake.run(&["system", "df", "--format", "json"])
            .stdout
            .lines()
            .next()
            .unwrap(),
        r#"{"Active":"1","Reclaimable":"23.46MB (18%)","Size":"123.5MB","TotalCount":"2","Type":"Images"}"#
    );
    let empty = r#"{"LayersSize":0,"Images":null,"Containers":null,"Volumes":null,"BuildCache":null}"#;
    assert_eq!(
        Fake::new([reply(200, empty)]).run(&["system", "df"]).stdout,
        "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
         Images          0         0         0B        0B\n\
         Containers      0         0         0B        0B\n\
         Local Volumes   0         0         0B        0B\n\
         Build Cache     0         0         0B        0B\n"
    );
}

#[test]
fn disk_usage_is_shown_one_by_one() {
    let fake = Fake::new([usage()]);
    assert_eq!(
        fake.run(&["system", "df", "-v"]).stdout,
        "Images space usage:\n\
         \n\
         REPOSITORY   TAG       IMAGE ID       CREATED      SIZE      SHARED SIZE   UNIQUE SIZE   CONTAINERS\n\
         busybox      latest    111111111111   3 days ago   120MB     20MB          100MB         1\n\
         <none>       <none>    222222222222   3 days ago   23.5MB    20MB          3.457MB       0\n\
         \n\
         Containers space usage:\n\
         \n\
         CONTAINER ID   IMAGE          COMMAND                  LOCAL VOLUMES   SIZE      CREATED      STATUS                  NAMES\n\
         cccccccccccc   nginx:1        \"/docker-entrypoint.…\"   1               1.23kB    3 days ago   Up 2 hours              web\n\
         bbbbbbbbbbbb   222222222222   \"sh\"                     0               1kB       3 days ago   Exited (0) 2 days ago   gone\n\
         \n\
         Local Volumes space usage:\n\
         \n\
         VOLUME NAME   LINKS     SIZE\n\
         data          1         5kB\n\
         idle          0         7kB\n\
         odd           -1        -1B\n\
         \n\
         Build cache usage: 7.807MB\n\
         \n\
         CACHE ID        CACHE TYPE        SIZE      CREATED      LAST USED    USAGE     SHARED\n\
         cccccccccccc    regular           7.81MB    3 days ago                1         false\n\
         aaaaaaaaaaaa    regular           5MB       3 days ago   3 days ago   3         true\n\
         bbbbbbbbbbbb*   exec.cachemount   1.5kB     3 days ago   3 days ago   12        false\n"
    );
    let run = fake.run(&[
        "system",
        "df",
        "-v",
        "--format",
        "{{range .BuildCache}}{{.ID}} {{.Description}};{{end}}",
    ]);
    let (a, b, c) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
    assert_eq!(
        run.stdout,
        format!("{c} COPY . .;{a} RUN a && b;{b}* /root/.cache;")
    );
    let run = fake.run(&["system", "df", "-v", "--format", "json"]);
    assert!(
        run.stdout.contains(r#""Description":"RUN a \u0026\u0026 b""#),
        "{run:?}"
    );
    assert_eq!(
        fake.run(&["system", "df", "-v", "--format", "{{.Nope}}"]).code,
        Some(1)
    );
}

const QUESTION: &str = "\nAre you sure you want to continue? [y/N] ";

fn prune_replies() -> [Reply; 4] {
    [
        reply(200, r#"{"ContainersDeleted":null,"SpaceReclaimed":0}"#),
        reply(200, r#"{"NetworksDeleted":["n1"]}"#),
        reply(
            200,
            r#"{"ImagesDeleted":[{"Untagged":"a:b"},{"Deleted":"sha256:12"}],"SpaceReclaimed":123456789}"#,
        ),
        reply(200, r#"{"CachesDeleted":["x","y"],"SpaceReclaimed":1234}"#),
    ]
}

#[test]
fn a_prune_of_everything_tells_what_went() {
    let fake = Fake::new(prune_replies());
    let run = fake.run(&["system", "prune", "--force"]);
    assert_eq!(
        (run.code, run.stdout.as_str()),
        (
            Some(0),
            "Deleted Networks:\nn1\n\nDeleted Images:\nuntagged: a:b\ndeleted: sha256:12\n\nDeleted build cache \
             objects:\nx\ny\n\nTotal reclaimed space: 123.5MB\n"
        )
    );
    assert_eq!(
        fake.lines(),
        [
            "POST /v1.51/containers/prune",
            "POST /v1.51/networks/prune",
            r#"POST /v1.51/images/prune?filters={"dangling":{"true":true}}"#,
            "POST /v1.51/build/prune"
        ]
    );
    let [containers, networks, images, cache] = prune_replies();
    let volumes = reply(200, r#"{"VolumesDeleted":["v"],"SpaceReclaimed":1}"#);
    let fake = Fake::new([containers, networks, volumes, images, cache]);
    let run = fake.run(&["system", "prune", "-af", "--volumes", "--filter", "label=x"]);
    assert!(run.stdout.contains("Deleted Volumes:\nv\n\n"), "{run:?}");
    assert_eq!(
        fake.lines()[2..],
        [
            r#"POST /v1.51/volumes/prune?filters={"label":{"x":true}}"#,
            r#"POST /v1.51/images/prune?filters={"label":{"x":true},"dangling":{"false":true}}"#,
            r#"POST /v1.51/build/prune?all=1&filters={"label":{"x":true}}"#
        ]
    );
}

#[test]
fn a_prune_of_everything_asks_first() {
    for (words, warning) in [
        (
            &[][..],
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one \
             container\n  - all dangling images\n  - unused build cache\n",
        ),
        (
            &["-a", "--volumes"],
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one \
             container\n  - all anonymous volumes not used by at least one container\n  - all images without at least \
             one container associated to them\n  - all build cache\n",
        ),
        (
            &[
                "--filter",
                "until=24h",
                "--filter",
                "label=x",
                "--filter",
                "label!=y",
            ],
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one \
             container\n  - all dangling images\n  - unused build cache\n\n  Items to be pruned will be filtered \
             with:\n  - label!=y\n  - label=x\n  - until=24h\n",
        ),
    ] {
        let fake = Fake::new(prune_replies());
        let run = fake.run(&[&["system", "prune"], words].concat());
        assert_eq!((run.code, run.stdout), (Some(0), format!("{warning}{QUESTION}")));
        assert!(fake.lines().is_empty());
    }
    let fake = Fake::new(prune_replies());
    let mut command = fake.command(&["system", "prune"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"y\n").unwrap();
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(fake.lines().len(), 4);
    let run = Fake::new([]).run(&["system", "prune", "--volumes", "--filter", "until=24h"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (
            Some(1),
            "ERROR: The \"until\" filter is not supported with \"--volumes\"\n"
        )
    );
}

#[test]
fn a_prune_that_fails_half_way_says_so() {
    let [containers, networks, ..] = prune_replies();
    let busy = reply(409, r#"{"message":"a prune operation is already running"}"#);
    let run = Fake::new([containers, networks, busy]).run(&["system", "prune", "-f"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (
            Some(1),
            "Error response from daemon: a prune operation is already running\n"
        )
    );
}

#[test]
fn the_socket_can_be_had_on_standard_input_and_output() {
    let fake = Fake::new([reply(200, "[]")]);
    let mut command = fake.command(&["system", "dial-stdio"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let request = b"GET /images/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    // left open: a server may take the end of what comes for a client that went away
    let mut input = child.stdin.take().unwrap();
    input.write_all(request).unwrap();
    let output = child.wait_with_output().unwrap();
    let answer = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n[]"),
        "{answer}"
    );
    assert_eq!(fake.lines(), ["GET /images/json"]);
}
