//! What Debian's dockerd 20.10.24 says to each system call of a `RUN`, recorded from the filter that it loads.
//!
//! The program was read out of a `RUN` that slept (`PTRACE_SECCOMP_GET_FILTER` of `ptrace(2)`) and asked
//! about every number up to 700 with arguments of zero. Each pair is the first number of a range and what
//! is said from there on: 0 to allow, else the error number.

use Change::{Allowed, Newer, Refused};

/// 64-bit x86.
#[rustfmt::skip]
pub(super) const X86_64: &[(u32, i32)] = &[
    (0, 0), (103, 1), (104, 0), (134, 1), (135, 0), (136, 1), (137, 0), (139, 1), (140, 0), (153, 1),
    (154, 0), (155, 1), (157, 0), (163, 1), (186, 0), (212, 1), (213, 0), (227, 1), (228, 0), (236, 1),
    (240, 0), (246, 1), (247, 0), (248, 1), (251, 0), (256, 1), (257, 0), (272, 1), (273, 0), (279, 1),
    (280, 0), (298, 1), (299, 0), (300, 1), (301, 0), (303, 1), (305, 0), (308, 1), (309, 0), (310, 1),
    (314, 0), (320, 1), (322, 0), (323, 1), (324, 0), (329, 1), (332, 0), (335, 1), (424, 0), (428, 1),
    (434, 0), (435, 38), (436, 0), (438, 1), (439, 0), (440, 1), (441, 0), (442, 1), (444, 0), (450, 38),
];

/// x32, whose numbers have its bit set.
#[rustfmt::skip]
pub(super) const X32: &[(u32, i32)] = &[
    (0, 0), (13, 1), (14, 0), (15, 1), (17, 0), (19, 1), (21, 0), (45, 1), (48, 0), (54, 1), (56, 0),
    (59, 1), (60, 0), (101, 1), (102, 0), (103, 1), (104, 0), (127, 1), (130, 0), (131, 1), (132, 0),
    (134, 1), (135, 0), (136, 1), (137, 0), (139, 1), (140, 0), (153, 1), (154, 0), (155, 1), (157, 0),
    (163, 1), (186, 0), (205, 1), (207, 0), (209, 1), (210, 0), (211, 1), (213, 0), (214, 1), (216, 0),
    (222, 1), (223, 0), (227, 1), (228, 0), (236, 1), (240, 0), (244, 1), (245, 0), (246, 1), (251, 0),
    (256, 1), (257, 0), (272, 1), (275, 0), (278, 1), (280, 0), (295, 1), (301, 0), (303, 1), (305, 0),
    (307, 1), (309, 0), (310, 1), (314, 0), (320, 1), (324, 0), (327, 1), (332, 0), (335, 1), (424, 0),
    (428, 1), (434, 0), (435, 38), (436, 0), (438, 1), (439, 0), (440, 1), (441, 0), (442, 1), (444, 0),
    (450, 1), (512, 0), (528, 1), (529, 0), (533, 1), (534, 0), (539, 1), (541, 0), (548, 38),
];

/// 32-bit x86.
#[rustfmt::skip]
pub(super) const I386: &[(u32, i32)] = &[
    (0, 0), (17, 1), (19, 0), (21, 1), (23, 0), (25, 1), (26, 0), (28, 1), (29, 0), (31, 1), (33, 0),
    (34, 1), (36, 0), (44, 1), (45, 0), (48, 1), (49, 0), (51, 1), (54, 0), (56, 1), (57, 0), (58, 1),
    (60, 0), (62, 1), (63, 0), (67, 1), (70, 0), (72, 1), (75, 0), (79, 1), (80, 0), (84, 1), (85, 0),
    (86, 1), (90, 0), (98, 1), (99, 0), (101, 1), (102, 0), (103, 1), (104, 0), (109, 1), (114, 0),
    (115, 1), (116, 0), (121, 1), (122, 0), (127, 1), (132, 0), (134, 1), (136, 0), (137, 1), (138, 0),
    (149, 1), (150, 0), (166, 1), (168, 0), (169, 1), (170, 0), (188, 1), (190, 0), (217, 1), (218, 0),
    (222, 1), (224, 0), (251, 1), (252, 0), (253, 1), (254, 0), (264, 1), (265, 0), (273, 1), (277, 0),
    (283, 1), (284, 0), (285, 1), (289, 0), (294, 1), (295, 0), (310, 1), (311, 0), (317, 1), (318, 0),
    (336, 1), (337, 0), (338, 1), (339, 0), (341, 1), (343, 0), (346, 1), (351, 0), (357, 1), (358, 0),
    (374, 1), (375, 0), (380, 1), (383, 0), (387, 1), (393, 0), (404, 1), (405, 0), (415, 1), (416, 0),
    (428, 1), (434, 0), (435, 38), (436, 0), (438, 1), (439, 0), (440, 1), (441, 0), (442, 1), (444, 0),
    (450, 38),
];

/// Why the list of today says something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Docker has allowed the call since.
    Allowed,
    /// Docker has refused the call since.
    Refused,
    /// The call is newer than what Debian's docker knows, which says `ENOSYS` (or `EPERM`, where a call
    /// with a higher number is known), and the list of today knows it.
    Newer,
}

/// All calls that are answered otherwise here, by their numbers: x86_64, x32, i386; 0 for none.
pub(super) const CHANGES: [([u32; 3], Change); 27] = [
    // name_to_handle_at: the handles cannot be opened.
    ([303, 303, 341], Allowed),
    // process_vm_readv and process_vm_writev, as ptrace is.
    ([310, 539, 347], Allowed),
    ([311, 540, 348], Allowed),
    // pkey_mprotect, pkey_alloc, pkey_free.
    ([329, 329, 380], Allowed),
    ([330, 330, 381], Allowed),
    ([331, 331, 382], Allowed),
    // uretprobe.
    ([335, 0, 0], Allowed),
    // io_uring_setup, io_uring_enter, io_uring_register.
    ([425, 425, 425], Refused),
    ([426, 426, 426], Refused),
    ([427, 427, 427], Refused),
    // set_mempolicy_home_node, lsm_get_self_attr, lsm_set_self_attr, lsm_list_modules: known, and refused
    ([450, 0, 450], Newer),
    ([459, 0, 459], Newer),
    ([460, 0, 460], Newer),
    ([461, 0, 461], Newer),
    // cachestat, fchmodat2, map_shadow_stack, futex_wake, futex_wait, futex_requeue, statmount, listmount,
    // mseal, setxattrat, getxattrat, listxattrat, removexattrat: known, and allowed
    ([451, 451, 451], Newer),
    ([452, 452, 452], Newer),
    ([453, 0, 453], Newer),
    ([454, 454, 454], Newer),
    ([455, 455, 455], Newer),
    ([456, 456, 456], Newer),
    ([457, 457, 457], Newer),
    ([458, 458, 458], Newer),
    ([462, 462, 462], Newer),
    ([463, 463, 463], Newer),
    ([464, 464, 464], Newer),
    ([465, 465, 465], Newer),
    ([466, 466, 466], Newer),
];
