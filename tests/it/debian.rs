//! A real distribution: a Debian base made by debootstrap, and packages installed on it.

use mica_tests::{Context, Daemon, copy_apt, put_debian_rootfs};

#[test]
fn python_is_installed_on_a_debian_base() {
    let daemon = Daemon::start();
    let base = Context::new("FROM scratch\nADD rootfs.tar /\nCMD [\"bash\"]\n");
    put_debian_rootfs(&base.path().join("rootfs.tar"));
    daemon.mica(["build", "-t", "debian:12", base.arg()]).ok();
    let context = Context::new(
        "FROM debian:12\nCOPY apt /etc/apt/\n\
         RUN apt-get update && apt-get install -y --no-install-recommends python3\n\
         RUN python3 -c 'print(\"sum\", sum(range(101)))'\n",
    );
    copy_apt(&context.path().join("apt"));
    let built = daemon.mica(["build", "-t", "python", context.arg()]).ok();
    assert!(built.stderr.contains("sum 5050"), "{}", built.stderr);
    let again = daemon.mica(["build", "-t", "python", context.arg()]).ok();
    assert_eq!(
        again.stderr.matches("---> Using cache").count(),
        3,
        "{}",
        again.stderr
    );
    // setuid programs and owners of a real base survive
    let look = Context::new("FROM python\nRUN stat -c '%a %U:%G %n' /bin/su /var/mail /etc/shadow\n");
    let seen = daemon.mica(["build", look.arg()]).ok().stderr;
    for line in [
        "4755 root:root /bin/su",
        "2775 root:mail /var/mail",
        "640 root:shadow /etc/shadow",
    ] {
        assert!(seen.contains(line), "{seen}");
    }
}
