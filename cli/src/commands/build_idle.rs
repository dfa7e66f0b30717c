//! Flags of `build` that other builders have and that change nothing here.

use clap::Args;

use crate::truth::go_bool;

#[derive(Debug, Args)]
pub(super) struct Idle {
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_parser = go_bool, default_missing_value = "true")]
    rm: Option<bool>,
    #[arg(long, hide = true)]
    force_rm: bool,
    #[arg(long, hide = true)]
    compress: bool,
    #[arg(long, hide = true)]
    load: bool,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_parser = go_bool, default_missing_value = "true")]
    disable_content_trust: Option<bool>,
    #[arg(long, hide = true)]
    squash: bool,
    #[arg(long, hide = true)]
    squash_all: bool,
    #[arg(long, hide = true, value_name = "OPTION")]
    security_opt: Vec<String>,
    #[arg(long, hide = true, value_name = "KIND")]
    isolation: Vec<String>,
    /// podman's: manifests are OCI's and keep all that docker's do
    #[arg(long, hide = true, value_parser = ["oci", "docker"])]
    format: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_parser = go_bool, default_missing_value = "true")]
    layers: Option<bool>,
    #[arg(long, hide = true, value_name = "NUMBER")]
    jobs: Option<String>,
    #[arg(long, hide = true, value_name = "NUMBER")]
    retry: Option<String>,
    #[arg(long, hide = true, value_name = "TIME")]
    retry_delay: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, value_parser = go_bool, default_missing_value = "true")]
    tls_verify: Option<bool>,
}

impl Idle {
    /// The names of those that are given; not of those that ask for what is done anyway.
    pub(super) fn names(&self) -> Vec<&'static str> {
        let named = [
            ("--rm=false", self.rm == Some(false)),
            ("--force-rm", self.force_rm),
            ("--compress", self.compress),
            ("--load", self.load),
            (
                "--disable-content-trust=false",
                self.disable_content_trust == Some(false),
            ),
            ("--squash", self.squash),
            ("--squash-all", self.squash_all),
            ("--security-opt", !self.security_opt.is_empty()),
            (
                "--isolation",
                self.isolation
                    .iter()
                    .any(|kind| !matches!(kind.as_str(), "" | "default")),
            ),
            ("--format", self.format.is_some()),
            ("--layers=false", self.layers == Some(false)),
            ("--jobs", self.jobs.is_some()),
            ("--retry", self.retry.is_some()),
            ("--retry-delay", self.retry_delay.is_some()),
            ("--tls-verify=false", self.tls_verify == Some(false)),
        ];
        let given = named.into_iter().filter(|(_, is_set)| *is_set);
        given.map(|(name, _)| name).collect()
    }
}
