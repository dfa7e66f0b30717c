//! What the process may do: its limits, user and capabilities.

use rustix::fs::{Gid, Uid};
use rustix::io::Errno;
use rustix::process::{self, setrlimit};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_bounding_set,
    configure_capability_in_ambient_set, remove_capability_from_bounding_set, set_capabilities,
    set_keep_capabilities, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use crate::init::user::Identity;
use crate::spec::{Resource, Rlimit, Security};
use crate::wire::{AtStep, Failure};

/// Docker's default capabilities.
const SANDBOX: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::SETPCAP)
    .union(CapabilitySet::NET_BIND_SERVICE)
    .union(CapabilitySet::SYS_CHROOT)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::AUDIT_WRITE);

/// Becomes the user, with nothing but the capabilities that go with `security`, as far as the
/// daemon has them itself.
pub(crate) fn drop_to(identity: &Identity, security: Security) -> Result<(), Failure> {
    let held = capabilities(None).at(|| "capabilities".to_owned())?.permitted;
    let kept = match security {
        Security::Sandbox => held & SANDBOX,
        Security::Insecure => held,
    };
    limit_bounding_set(kept).at(|| "bounding capabilities".to_owned())?;
    change_user(identity).at(|| format!("user {}:{}", identity.uid, identity.gid))?;
    give(kept, identity, security).at(|| "capabilities".to_owned())
}

fn limit_bounding_set(kept: CapabilitySet) -> Result<(), Errno> {
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        match capability_is_in_bounding_set(capability) {
            // The first number the kernel does not know.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
            Ok(true) if !kept.contains(capability) => remove_capability_from_bounding_set(capability)?,
            Ok(_) => {}
        }
    }
    Ok(())
}

fn change_user(identity: &Identity) -> Result<(), Errno> {
    let groups: Vec<Gid> = identity.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
    set_thread_groups(&groups)?;
    let gid = Gid::from_raw(identity.gid);
    set_thread_res_gid(gid, gid, gid)?;
    // Else the kernel takes all capabilities away with the change of the user, and none could be
    // handed on to a user other than root. Cleared by the exec.
    set_keep_capabilities(true)?;
    let uid = Uid::from_raw(identity.uid);
    set_thread_res_uid(uid, uid, uid)
}

/// Sets the sets that the exec computes the program's from: as nothing is inheritable, root gets the
/// bounding set and everybody else nothing, unless all of it is ambient (`capabilities(7)`).
fn give(kept: CapabilitySet, identity: &Identity, security: Security) -> Result<(), Errno> {
    let root = identity.uid == 0;
    let inheritable = if security == Security::Insecure {
        kept
    } else {
        CapabilitySet::empty()
    };
    // The search for the program is done with the user's own rights.
    let effective = if root || security == Security::Insecure {
        kept
    } else {
        CapabilitySet::empty()
    };
    set_capabilities(
        None,
        CapabilitySets {
            effective,
            permitted: kept,
            inheritable,
        },
    )?;
    for capability in inheritable {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(())
}

/// Sets the limits of the spec.
pub(crate) fn limit(limits: &[Rlimit]) -> Result<(), Failure> {
    for limit in limits {
        let new = process::Rlimit {
            current: limit.soft,
            maximum: limit.hard,
        };
        setrlimit(number(limit.resource), new).at(|| format!("limit {:?}", limit.resource))?;
    }
    Ok(())
}

fn number(resource: Resource) -> process::Resource {
    match resource {
        Resource::As => process::Resource::As,
        Resource::Core => process::Resource::Core,
        Resource::Cpu => process::Resource::Cpu,
        Resource::Data => process::Resource::Data,
        Resource::Fsize => process::Resource::Fsize,
        Resource::Locks => process::Resource::Locks,
        Resource::Memlock => process::Resource::Memlock,
        Resource::Msgqueue => process::Resource::Msgqueue,
        Resource::Nice => process::Resource::Nice,
        Resource::Nofile => process::Resource::Nofile,
        Resource::Nproc => process::Resource::Nproc,
        Resource::Rss => process::Resource::Rss,
        Resource::Rtprio => process::Resource::Rtprio,
        Resource::Rttime => process::Resource::Rttime,
        Resource::Sigpending => process::Resource::Sigpending,
        Resource::Stack => process::Resource::Stack,
    }
}
