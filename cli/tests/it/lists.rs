//! What scripts ask of containers, volumes, networks and plugins, as docker's command line shows the same answers.

use crate::fake::{Fake, reply};

#[test]
fn where_there_is_nothing_there_are_heads() {
    for (words, answer, asked, table) in [
        (
            &["ps"][..],
            "[]",
            "GET /v1.51/containers/json",
            "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n",
        ),
        (
            &["container", "ls", "-a", "--size", "--filter", "status=exited"],
            "[]",
            r#"GET /v1.51/containers/json?all=1&size=1&filters={"status":{"exited":true}}"#,
            "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES     SIZE\n",
        ),
        (
            &["ps", "-q", "-n", "3"],
            "[]",
            "GET /v1.51/containers/json?limit=3",
            "",
        ),
        (
            &["volume", "ls"],
            r#"{"Volumes":null,"Warnings":null}"#,
            "GET /v1.51/volumes",
            "DRIVER    VOLUME NAME\n",
        ),
        (
            &["network", "list", "-f", "driver=bridge"],
            "[]",
            r#"GET /v1.51/networks?filters={"driver":{"bridge":true}}"#,
            "NETWORK ID   NAME      DRIVER    SCOPE\n",
        ),
        (
            &["plugin", "ls"],
            "[]",
            "GET /v1.51/plugins",
            "ID        NAME      DESCRIPTION   ENABLED\n",
        ),
    ] {
        let fake = Fake::new([reply(200, answer)]);
        let run = fake.run(words);
        assert_eq!(
            (run.code, run.stdout.as_str(), run.stderr.as_str()),
            (Some(0), table, ""),
            "{words:?}"
        );
        assert_eq!(fake.lines(), [asked]);
    }
}

#[test]
fn other_daemons_have_containers() {
    let (id, other) = ("c1".repeat(32), "22".repeat(32));
    let then = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs() - 73 * 3600;
    let containers = format!(
        r#"[{{"Id":"{id}","Names":["/web","/other/web2"],"Image":"nginx:1","ImageID":"sha256:{other}",
            "Command":"/docker-entrypoint.sh nginx","Created":{then},"State":"running","Status":"Up 2 hours",
            "Ports":[{{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}},
                     {{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}},{{"PrivatePort":443,"Type":"tcp"}}],
            "Labels":{{"a":"b","c":"d"}},"Mounts":[{{"Name":"data","Driver":"local"}},{{"Source":"/host/a/long/path"}}],
            "NetworkSettings":{{"Networks":{{"bridge":{{}}}}}},"SizeRw":1234,"SizeRootFs":1000000}},
            {{"Id":"{other}","Names":["/gone"],"Image":"sha256:{other}","ImageID":"sha256:{other}","Command":"sh",
              "Created":{then},"State":"exited","Status":"Exited (0) 2 days ago","Ports":[]}}]"#
    );
    let fake = Fake::new([reply(200, containers)]);
    assert_eq!(
        fake.run(&["ps", "-a"]).stdout,
        "CONTAINER ID   IMAGE          COMMAND                  CREATED      STATUS                  PORTS                                              NAMES\n\
         c1c1c1c1c1c1   nginx:1        \"/docker-entrypoint.…\"   3 days ago   Up 2 hours              443/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp   web\n\
         222222222222   222222222222   \"sh\"                     3 days ago   Exited (0) 2 days ago                                                      gone\n"
    );
    let format = "{{.Names}} {{.Labels}} {{.Mounts}} {{.LocalVolumes}} {{.Networks}} {{.Size}}";
    assert_eq!(
        fake.run(&["ps", "--no-trunc", "--format", format]).stdout,
        "web,other/web2 a=b,c=d data,/host/a/long/path 1 bridge 1.23kB (virtual 1MB)\ngone   0  0B\n"
    );
    assert_eq!(fake.lines()[1], "GET /v1.51/containers/json?size=1");
}

#[test]
fn other_daemons_have_volumes_networks_and_plugins() {
    let volumes = r#"{"Volumes":[
        {"Name":"z","Driver":"local","Mountpoint":"/v/z","Scope":"local","Labels":{"k":"v"}},
        {"Name":"a","Driver":"local","Mountpoint":"/v/a","Scope":"local","Labels":null}]}"#;
    let fake = Fake::new([reply(200, volumes)]);
    assert_eq!(
        fake.run(&["volume", "ls"]).stdout,
        "DRIVER    VOLUME NAME\nlocal     a\nlocal     z\n"
    );
    assert_eq!(fake.run(&["volume", "ls", "-q"]).stdout, "a\nz\n");
    assert_eq!(
        fake.run(&["volume", "ls", "--format", "json"])
            .stdout
            .lines()
            .nth(1)
            .unwrap(),
        r#"{"Availability":"N/A","Driver":"local","Group":"N/A","Labels":"k=v","Links":"N/A","Mountpoint":"/v/z","Name":"z","Scope":"local","Size":"N/A","Status":"N/A"}"#
    );
    let id = "ab".repeat(32);
    let networks = format!(
        r#"[{{"Name":"b","Id":"{id}","Created":"2023-11-14T22:13:20.5Z","Scope":"local","Driver":"bridge","EnableIPv6":true,"Internal":false,"Labels":{{}}}}]"#
    );
    let fake = Fake::new([reply(200, networks)]);
    assert_eq!(
        fake.run(&["network", "ls"]).stdout,
        "NETWORK ID     NAME      DRIVER    SCOPE\nabababababab   b         bridge    local\n"
    );
    assert_eq!(
        fake.run(&["network", "ls", "-q", "--no-trunc"]).stdout,
        format!("{id}\n")
    );
    assert_eq!(
        fake.run(&["network", "ls", "--format", "json"]).stdout,
        "{\"CreatedAt\":\"2023-11-14 22:13:20.5 +0000 UTC\",\"Driver\":\"bridge\",\"ID\":\"abababababab\",\
         \"IPv4\":\"false\",\"IPv6\":\"true\",\"Internal\":\"false\",\"Labels\":\"\",\"Name\":\"b\",\"Scope\":\"local\"}\n"
    );
    let plugins = format!(
        r#"[{{"Id":"{id}","Name":"p:latest","PluginReference":"docker.io/x/p:latest","Enabled":true,
            "Config":{{"Description":"does something very long that must be cut somewhere"}}}}]"#
    );
    let fake = Fake::new([reply(200, plugins)]);
    assert_eq!(
        fake.run(&["plugin", "ls"]).stdout,
        "ID             NAME       DESCRIPTION                                     ENABLED\n\
         abababababab   p:latest   does something very long that must be cut so…   true\n"
    );
    let run = fake.run(&["plugin", "ls", "--format", "json"]);
    assert!(
        run.stdout.contains(r#""Enabled":true,"ID":"abababababab""#),
        "{run:?}"
    );
}

#[test]
fn prunes_of_what_is_not_there_work() {
    for (words, answer, asked, text) in [
        (
            &["container", "prune", "-f", "--filter", "until=24h"][..],
            r#"{"ContainersDeleted":["c1","c2"],"SpaceReclaimed":1000}"#,
            r#"POST /v1.51/containers/prune?filters={"until":{"24h":true}}"#,
            "Deleted Containers:\nc1\nc2\n\nTotal reclaimed space: 1kB\n",
        ),
        (
            &["volume", "prune", "-f", "--all"],
            r#"{"VolumesDeleted":null,"SpaceReclaimed":0}"#,
            r#"POST /v1.51/volumes/prune?filters={"all":{"true":true}}"#,
            "Total reclaimed space: 0B\n",
        ),
        (
            &["network", "prune", "-f"],
            r#"{"NetworksDeleted":["n"]}"#,
            "POST /v1.51/networks/prune",
            "Deleted Networks:\nn\n\n",
        ),
    ] {
        let fake = Fake::new([reply(200, answer)]);
        let run = fake.run(words);
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), text));
        assert_eq!(fake.lines(), [asked]);
    }
    let question = "Are you sure you want to continue? [y/N] ";
    for (words, warning) in [
        (
            &["container", "prune"][..],
            "WARNING! This will remove all stopped containers.\n",
        ),
        (
            &["volume", "prune"],
            "WARNING! This will remove anonymous local volumes not used by at least one container.\n",
        ),
        (
            &["network", "prune"],
            "WARNING! This will remove all custom networks not used by at least one container.\n",
        ),
    ] {
        let run = Fake::new([]).run(words);
        assert_eq!((run.code, run.stdout), (Some(0), format!("{warning}{question}")));
    }
}

#[test]
fn there_is_one_context() {
    let fake = Fake::new([]);
    let host = fake.host();
    let width = host.len() + 3;
    let run = fake.run(&["context", "ls"]);
    assert_eq!(
        run.stdout,
        format!(
            "NAME        DESCRIPTION                               {:width$}ERROR\n\
             default *   Current DOCKER_HOST based configuration   {host:width$}\n",
            "DOCKER ENDPOINT"
        )
    );
    assert_eq!(
        fake.run(&["context", "ls", "--format", "json"]).stdout,
        format!(
            "{{\"Current\":true,\"Description\":\"Current DOCKER_HOST based configuration\",\"DockerEndpoint\":\"{host}\",\
             \"Error\":\"\",\"Name\":\"default\"}}\n"
        )
    );
    assert_eq!(fake.run(&["context", "show"]).stdout, "default\n");
    let run = fake.run(&["context", "use", "default"]);
    assert_eq!(
        (run.stdout.as_str(), run.stderr.as_str()),
        ("default\n", "Current context is now \"default\"\n")
    );
    assert_eq!(
        fake.run(&["context", "inspect"]).stdout,
        format!(
            "[\n    {{\n        \"Name\": \"default\",\n        \"Metadata\": {{}},\n        \"Endpoints\": {{\n            \
             \"docker\": {{\n                \"Host\": \"{host}\",\n                \"SkipTLSVerify\": false\n            \
             }}\n        }},\n        \"TLSMaterial\": {{}},\n        \"Storage\": {{\n            \
             \"MetadataPath\": \"\\u003cIN MEMORY\\u003e\",\n            \"TLSPath\": \"\\u003cIN MEMORY\\u003e\"\n        \
             }}\n    }}\n]\n"
        )
    );
    let endpoint = [
        "context",
        "inspect",
        "-f",
        "{{.Endpoints.docker.Host}}",
        "default",
    ];
    assert_eq!(fake.run(&endpoint).stdout, format!("{host}\n"));
    for words in [&["context", "inspect", "far"][..], &["context", "use", "far"]] {
        let run = fake.run(words);
        assert_eq!(run.code, Some(1));
        assert_eq!(
            run.stderr,
            "context \"far\": context not found: the only one is default\n"
        );
    }
    assert!(fake.lines().is_empty(), "no daemon is asked");
}
