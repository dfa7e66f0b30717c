//! Flags of docker's and podman's `pull` and `push` that change nothing here, and the one that does.

use std::path::PathBuf;

use clap::Args;

use crate::truth::go_bool;
use crate::ui;

#[derive(Debug, Args)]
pub(super) struct Foreign {
    /// The only file that credentials are taken from
    #[arg(long, hide = true, value_name = "FILE")]
    pub(super) authfile: Option<PathBuf>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_parser = go_bool, default_missing_value = "true")]
    disable_content_trust: Option<bool>,
    #[arg(long, hide = true, value_name = "NUMBER")]
    retry: Option<String>,
    #[arg(long, hide = true, value_name = "TIME")]
    retry_delay: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_parser = go_bool, default_missing_value = "true")]
    tls_verify: Option<bool>,
}

impl Foreign {
    /// Tells of flags that ask for something else than is done.
    pub(super) fn warn(&self) {
        let named = [
            (
                "--disable-content-trust=false",
                self.disable_content_trust == Some(false),
            ),
            ("--retry", self.retry.is_some()),
            ("--retry-delay", self.retry_delay.is_some()),
        ];
        for (name, _) in named.iter().filter(|(_, is_set)| *is_set) {
            ui::warn(format!("{name} has no effect"));
        }
        if self.tls_verify == Some(false) {
            ui::warn(
                "--tls-verify=false has no effect: insecure-registries of the daemon's daemon.json name such hosts",
            );
        }
    }
}
