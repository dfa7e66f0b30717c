//! `mica search`, as docker's command line shows the same answers.

use crate::fake::{Fake, reply};

const FOUND: &str = r#"[
    {"star_count":10000,"is_official":true,"name":"nginx","is_automated":false,"description":"Official build of Nginx."},
    {"star_count":3,"is_official":false,"name":"someone/nginx-with-a-long-name","is_automated":false,
     "description":"A description that goes on\nand on and on until nobody would want to read it"},
    {"star_count":50,"is_official":false,"name":"x/y","is_automated":false,"description":""}]"#;

#[test]
fn what_is_found_is_a_table() {
    let fake = Fake::new([reply(200, FOUND)]);
    assert_eq!(
        fake.run(&["search", "nginx"]).stdout,
        "NAME                             DESCRIPTION                                     STARS     OFFICIAL\n\
         nginx                            Official build of Nginx.                        10000     [OK]\n\
         someone/nginx-with-a-long-name   A description that goes on and on and on unt…   3         \n\
         x/y                                                                              50        \n"
    );
    let run = fake.run(&[
        "search",
        "--limit",
        "5",
        "--no-trunc",
        "--filter",
        "is-official=true",
        "-f",
        "stars=3",
        "--format",
        "{{.Name}}: {{.StarCount}} {{.IsOfficial}} {{.Description}}",
        "nginx",
    ]);
    assert_eq!(
        run.stdout,
        "nginx: 10000 [OK] Official build of Nginx.\n\
         someone/nginx-with-a-long-name: 3  A description that goes on and on and on until nobody would want to read it\n\
         x/y: 50  \n"
    );
    assert_eq!(
        fake.lines(),
        [
            "GET /v1.51/images/search?term=nginx",
            r#"GET /v1.51/images/search?term=nginx&filters={"is-official":{"true":true},"stars":{"3":true}}&limit=5"#
        ]
    );
    assert!(!fake.asked()[0].header("x-registry-auth").is_empty());
    assert_eq!(
        fake.run(&["search", "--format", "json", "nginx"]).stdout,
        "{\"Description\":\"Official build of Nginx.\",\"IsOfficial\":\"true\",\"Name\":\"nginx\",\"StarCount\":\"10000\"}\n\
         {\"Description\":\"A description that goes on and on and on unt…\",\"IsOfficial\":\"false\",\
         \"Name\":\"someone/nginx-with-a-long-name\",\"StarCount\":\"3\"}\n\
         {\"Description\":\"\",\"IsOfficial\":\"false\",\"Name\":\"x/y\",\"StarCount\":\"50\"}\n"
    );
}

#[test]
fn what_is_not_found_is_told() {
    let run = Fake::new([reply(200, "[]")]).run(&["search", "x"]);
    assert_eq!(run.stdout, "NAME      DESCRIPTION   STARS     OFFICIAL\n");
    let run = Fake::new([reply(500, r#"{"message":"no way to Docker Hub"}"#)]).run(&["search", "x"]);
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (Some(1), "Error response from daemon: no way to Docker Hub\n")
    );
    assert_eq!(Fake::new([]).run(&["search"]).code, Some(125));
}
