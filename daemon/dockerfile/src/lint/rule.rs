//! The rules there are, with the names and descriptions BuildKit gives them.

use std::fmt;

/// Where each rule is explained.
const ADDRESS: &str = "https://docs.docker.com/go/dockerfile/rule/";

/// A rule of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// A stage name has capitals.
    StageNameCasing,
    /// FROM and AS are not written alike.
    FromAsCasing,
    /// A blank line stands inside a continuation.
    NoEmptyContinuation,
    /// A keyword is not written as most of the file's are.
    ConsistentInstructionCasing,
    /// Two stages have one name.
    DuplicateStageName,
    /// A stage is called `scratch` or `context`.
    ReservedStageName,
    /// CMD or ENTRYPOINT goes through a shell nobody chose.
    JsonArgsRecommended,
    /// MAINTAINER.
    MaintainerDeprecated,
    /// FROM uses a variable that no global ARG declares.
    UndefinedArgInFrom,
    /// The first WORKDIR depends on the base image.
    WorkdirRelativePath,
    /// A variable is used that was never set.
    UndefinedVar,
    /// CMD, ENTRYPOINT or HEALTHCHECK came again in the same stage.
    MultipleInstructionsDisallowed,
    /// `ENV name value` or `LABEL name value`.
    LegacyKeyValueFormat,
    /// The base image is for another platform.
    InvalidBaseImagePlatform,
    /// `FROM --platform=$TARGETPLATFORM`.
    RedundantTargetPlatform,
    /// A variable's name says that its value is a secret.
    SecretsUsedInArgOrEnv,
    /// Without build arguments, FROM names no image.
    InvalidDefaultArgInFrom,
    /// `FROM --platform` with a platform spelled out.
    FromPlatformFlagConstDisallowed,
    /// COPY or ADD names what the ignore file leaves out.
    CopyIgnoredFile,
    /// A comment above FROM or ARG does not begin with the name it seems to describe.
    InvalidDefinitionDescription,
    /// EXPOSE with a protocol in capitals.
    ExposeProtoCasing,
    /// EXPOSE with an address or a host port.
    ExposeInvalidFormat,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::StageNameCasing,
        Self::FromAsCasing,
        Self::NoEmptyContinuation,
        Self::ConsistentInstructionCasing,
        Self::DuplicateStageName,
        Self::ReservedStageName,
        Self::JsonArgsRecommended,
        Self::MaintainerDeprecated,
        Self::UndefinedArgInFrom,
        Self::WorkdirRelativePath,
        Self::UndefinedVar,
        Self::MultipleInstructionsDisallowed,
        Self::LegacyKeyValueFormat,
        Self::InvalidBaseImagePlatform,
        Self::RedundantTargetPlatform,
        Self::SecretsUsedInArgOrEnv,
        Self::InvalidDefaultArgInFrom,
        Self::FromPlatformFlagConstDisallowed,
        Self::CopyIgnoredFile,
        Self::InvalidDefinitionDescription,
        Self::ExposeProtoCasing,
        Self::ExposeInvalidFormat,
    ];

    /// The rule called `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rule| rule.name() == name)
    }

    /// Its name, as `# check=skip=` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.texts().0
    }

    /// What it asks for, in one sentence.
    #[must_use]
    pub fn description(self) -> &'static str {
        self.texts().2
    }

    /// The address of the page that explains it.
    #[must_use]
    pub fn address(self) -> String {
        format!("{ADDRESS}{}/", self.texts().1)
    }

    /// Whether it is only applied when asked for: `# check=experimental=NAME`.
    #[must_use]
    pub fn is_experimental(self) -> bool {
        self == Self::InvalidDefinitionDescription
    }

    /// Name, the same in an address, description.
    fn texts(self) -> (&'static str, &'static str, &'static str) {
        TEXTS[self as usize]
    }
}

/// Name, the same in an address, and description of every rule, in their order.
const TEXTS: [(&str, &str, &str); Rule::ALL.len()] = [
    (
        "StageNameCasing",
        "stage-name-casing",
        "Stage names should be lowercase",
    ),
    (
        "FromAsCasing",
        "from-as-casing",
        "The 'as' keyword should match the case of the 'from' keyword",
    ),
    (
        "NoEmptyContinuation",
        "no-empty-continuation",
        "Empty continuation lines will become errors in a future release",
    ),
    (
        "ConsistentInstructionCasing",
        "consistent-instruction-casing",
        "All commands within the Dockerfile should use the same casing (either upper or lower)",
    ),
    (
        "DuplicateStageName",
        "duplicate-stage-name",
        "Stage names should be unique",
    ),
    (
        "ReservedStageName",
        "reserved-stage-name",
        "Reserved words should not be used as stage names",
    ),
    (
        "JSONArgsRecommended",
        "json-args-recommended",
        "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals",
    ),
    (
        "MaintainerDeprecated",
        "maintainer-deprecated",
        "The MAINTAINER instruction is deprecated, use a label instead to define an image author",
    ),
    (
        "UndefinedArgInFrom",
        "undefined-arg-in-from",
        "FROM command must use declared ARGs",
    ),
    (
        "WorkdirRelativePath",
        "workdir-relative-path",
        "Relative workdir without an absolute workdir declared within the build can have unexpected results if \
                 the base image changes",
    ),
    (
        "UndefinedVar",
        "undefined-var",
        "Variables should be defined before their use",
    ),
    (
        "MultipleInstructionsDisallowed",
        "multiple-instructions-disallowed",
        "Multiple instructions of the same type should not be used in the same stage",
    ),
    (
        "LegacyKeyValueFormat",
        "legacy-key-value-format",
        "Legacy key/value format with whitespace separator should not be used",
    ),
    (
        "InvalidBaseImagePlatform",
        "invalid-base-image-platform",
        "Base image platform does not match expected target platform",
    ),
    (
        "RedundantTargetPlatform",
        "redundant-target-platform",
        "Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior",
    ),
    (
        "SecretsUsedInArgOrEnv",
        "secrets-used-in-arg-or-env",
        "Sensitive data should not be used in the ARG or ENV commands",
    ),
    (
        "InvalidDefaultArgInFrom",
        "invalid-default-arg-in-from",
        "Default value for global ARG results in an empty or invalid base image name",
    ),
    (
        "FromPlatformFlagConstDisallowed",
        "from-platform-flag-const-disallowed",
        "FROM --platform flag should not use a constant value",
    ),
    (
        "CopyIgnoredFile",
        "copy-ignored-file",
        "Attempting to Copy file that is excluded by .dockerignore",
    ),
    (
        "InvalidDefinitionDescription",
        "invalid-definition-description",
        "Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If \
                 this is not intended to be a description comment, add an empty line or comment between the \
                 instruction and the comment.",
    ),
    (
        "ExposeProtoCasing",
        "expose-proto-casing",
        "Protocol in EXPOSE instruction should be lowercase",
    ),
    (
        "ExposeInvalidFormat",
        "expose-invalid-format",
        "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error \
                 in a future release",
    ),
];

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn addresses_spell_names_with_dashes() {
        for rule in Rule::ALL {
            let own = rule.address();
            let slug = own
                .strip_prefix("https://docs.docker.com/go/dockerfile/rule/")
                .and_then(|rest| rest.strip_suffix('/'))
                .unwrap();
            assert_eq!(slug.replace('-', ""), rule.name().to_ascii_lowercase());
            assert!(slug.contains('-') && !rule.description().is_empty());
            assert_eq!(
                format!("{rule:?}").to_ascii_lowercase(),
                rule.name().to_ascii_lowercase()
            );
        }
        let mut names: Vec<_> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 22);
        assert!(
            Rule::JsonArgsRecommended
                .address()
                .ends_with("/json-args-recommended/")
        );
    }
}
