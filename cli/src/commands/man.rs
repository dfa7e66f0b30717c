//! `mica man`: the manual, one page for each command, made from what `--help` is made from.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use crate::commands::CommandLine;
use crate::error::Error;
use crate::program;

/// The section of the manual for commands of users.
const SECTION: &str = "1";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// The folder, made if it is not there
    #[arg(value_name = "DIRECTORY")]
    folder: PathBuf,
}

pub(super) fn run(options: &Options) -> Result<(), Error> {
    let folder = &options.folder;
    let failed = |action, path: PathBuf| move |source| Error::File { action, path, source };
    fs::create_dir_all(folder).map_err(failed("cannot make the folder", folder.clone()))?;
    for (name, text) in pages(program::name())? {
        let path = folder.join(name);
        fs::write(&path, text).map_err(failed("cannot write", path))?;
    }
    Ok(())
}

/// The pages under their files' names: `mica-image-ls.1`.
fn pages(program: &'static str) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut root = CommandLine::command().name(program).bin_name(program);
    root.build();
    let mut pages = Vec::new();
    add(&root, program, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, program: &str, pages: &mut Vec<(String, Vec<u8>)>) -> Result<(), Error> {
    let name = command
        .get_display_name()
        .unwrap_or_else(|| command.get_name())
        .to_owned();
    let page = Man::new(command.clone())
        .title(name.to_uppercase())
        .section(SECTION)
        .source(format!("{program} {}", env!("CARGO_PKG_VERSION")))
        .manual(format!("{program} manual"));
    let mut text = Vec::new();
    page.render(&mut text).map_err(|source| Error::Transport {
        action: "making a manual page",
        source: source.into(),
    })?;
    pages.push((format!("{name}.{SECTION}"), text));
    for subcommand in command
        .get_subcommands()
        .filter(|subcommand| !subcommand.is_hide_set())
    {
        add(subcommand, program, pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command as Process, Stdio};

    use super::*;

    fn count(command: &Command) -> usize {
        let shown = command
            .get_subcommands()
            .filter(|subcommand| !subcommand.is_hide_set());
        1 + shown.map(count).sum::<usize>()
    }

    #[test]
    fn there_is_one_page_for_each_command() {
        let pages = pages("mica").unwrap();
        assert_eq!(pages.len(), count(&CommandLine::command()));
        let names: std::collections::BTreeSet<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), pages.len());
        for name in [
            "mica.1",
            "mica-build.1",
            "mica-image-ls.1",
            "mica-buildx-imagetools-inspect.1",
        ] {
            assert!(names.contains(name), "{name}: {names:?}");
        }
        for (name, text) in &pages {
            let text = String::from_utf8_lossy(text);
            let title = format!(".TH {} 1 ", name.trim_end_matches(".1").to_uppercase());
            assert!(
                text.lines().any(|line| line.starts_with(&title)),
                "{name} lacks {title}"
            );
            for section in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS"] {
                assert!(text.contains(section), "{name} lacks {section}");
            }
        }
    }

    #[test]
    fn pages_are_well_formed() {
        let programs = [
            ("mandoc", &["-T", "lint", "-W", "error"][..]),
            ("groff", &["-man", "-ww", "-z"]),
        ];
        let found = programs.iter().find(|(program, _)| {
            let mut process = Process::new("which");
            process
                .arg(program)
                .stdout(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        });
        let Some((program, arguments)) = found else {
            println!("skipped: neither mandoc nor groff is there to read man pages");
            return;
        };
        for (name, text) in pages("mica").unwrap() {
            let mut child = Process::new(program)
                .args(*arguments)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(&text).unwrap();
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{name}: {output:?}");
            assert!(
                output.stderr.is_empty(),
                "{name}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}
