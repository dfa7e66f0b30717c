//! The manual of micad: micad(8) of its flags, mica-daemon.json(5) of the table of options.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use clap::CommandFactory as _;

use crate::config::Arguments;
use crate::config::options::SETTINGS;

/// Writes both pages into a folder, which is made if it is not there.
pub(crate) fn write(folder: &Path) -> io::Result<()> {
    fs_err::create_dir_all(folder)?;
    fs_err::write(folder.join("micad.8"), program())?;
    fs_err::write(folder.join("mica-daemon.json.5"), file())
}

fn head(title: &str, section: u8, line: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH {title} {section} \"\" \"mica {version}\" \"mica manual\"\n.SH NAME\n{line}\n")
}

/// micad(8)
fn program() -> String {
    let mut page = head("MICAD", 8, "micad \\- builds and keeps container images");
    page.push_str(
        ".SH SYNOPSIS\n.B micad\n[\\fIOPTIONS\\fR]\n.SH DESCRIPTION\n\
         micad listens on a Unix socket, builds images from Dockerfiles, keeps them and syncs them with registries. It speaks the image \
         half of the Docker Engine API and BuildKit's gRPC; \\fBmica\\fR(1) and docker are its command lines.\n.SH OPTIONS\n",
    );
    for argument in Arguments::command().get_arguments() {
        if argument.is_hide_set() {
            continue;
        }
        let mut flag = String::new();
        if let Some(short) = argument.get_short() {
            flag = format!("\\fB\\-{short}\\fR, ");
        }
        flag.push_str(&format!(
            "\\fB{}\\fR",
            escaped(&format!("--{}", argument.get_long().unwrap_or_default()))
        ));
        if argument.get_action().takes_values() {
            let names = argument.get_value_names().unwrap_or_default();
            let name = names.first().map_or("VALUE", |name| name.as_str());
            flag.push_str(&format!(" \\fI{}\\fR", escaped(name)));
        }
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        // a String takes all that is written to it
        let _ = writeln!(page, ".TP\n{flag}\n{}", escaped(&help));
    }
    page.push_str(
        ".SH SIGNALS\n.TP\nSIGTERM, SIGINT\nNo new requests are taken, and micad leaves when those that go on are answered. Builds and \
         transfers have the time of \\fBshutdown\\-timeout\\fR, then they are cancelled. A second signal ends micad at once.\n\
         .TP\nSIGHUP\nThe settings are read anew. If they are wrong, nothing changes and the log says why.\n\
         .SH EXIT STATUS\n0 after it was told to leave, or did what it was to do before it leaves, 125 if the command line or the settings are wrong, 1 if something else is.\n\
         .SH FILES\n.I /etc/mica/daemon.json\n.br\n.I /run/mica/mica.sock\n.br\n.I /var/lib/mica\n\
         .SH SEE ALSO\n.BR mica (1),\n.BR mica\\-doctor (1),\n.BR mica\\-daemon.json (5)\n",
    );
    page
}

/// mica-daemon.json(5)
fn file() -> String {
    let mut page = head("MICA-DAEMON.JSON", 5, "mica\\-daemon.json \\- settings of micad");
    page.push_str(
        ".SH DESCRIPTION\nmicad reads its settings from the JSON object in \\fI/etc/mica/daemon.json\\fR, a user's micad from \
         \\fI$XDG_CONFIG_HOME/mica/daemon.json\\fR; \\fB\\-\\-config\\-file\\fR names another file. A key that is not known, a value of \
         another kind and settings that contradict each other are errors. \\fBmicad \\-\\-check\\-config\\fR looks without starting. \
         On SIGHUP the file is read anew; what is marked \"restart\" takes effect only after a restart. A key with dots stands for \
         objects in objects.\n.SH OPTIONS\n",
    );
    for setting in &SETTINGS {
        let effect = if setting.reloads { "reload" } else { "restart" };
        // as above
        let _ = writeln!(
            page,
            ".TP\n\\fB{}\\fR ({}; default: {}; {effect})\n{}",
            escaped(setting.key),
            escaped(&setting.kind.described()),
            escaped(setting.default),
            escaped(setting.about),
        );
    }
    page.push_str(
        ".SH EXAMPLE\n.nf\n{\n  \"registry\\-mirrors\": [\"https://mirror.example\"],\n  \"rights\": {\n    \"read\": {\"groups\": \
         [\"staff\"]},\n    \"build\": {\"users\": [\"ci\"]}\n  },\n  \"log\\-format\": \"json\"\n}\n.fi\n\
         .SH SEE ALSO\n.BR micad (8)\n",
    );
    page
}

/// Text in which roff sees nothing of its own.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.starts_with(['.', '\'']) {
        true => format!("\\&{text}"),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_has_its_place() {
        let page = file();
        for setting in &SETTINGS {
            assert!(
                page.contains(&format!("\\fB{}\\fR (", escaped(setting.key))),
                "{}",
                setting.key
            );
        }
        let page = program();
        for flag in [
            "host",
            "data-root",
            "config-file",
            "check-config",
            "rebuild",
            "log-level",
            "shutdown-timeout",
        ] {
            assert!(page.contains(&escaped(&format!("--{flag}"))), "{flag}");
        }
        assert!(!page.contains("write\\-manual"), "what is hidden is not told");
        assert_eq!(escaped(".x-y\\z"), "\\&.x\\-y\\ez");
    }
}
