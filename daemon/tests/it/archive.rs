//! Makes tars and images in them, with a few lines of ustar (POSIX.1-2017, pax, "ustar Interchange Format").

use mica_oci::Digest;
use serde_json::{Value, json};

/// The header of a regular file, or of a directory where the name ends in a slash.
pub(crate) fn header(name: &str, size: u64) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000755\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, if name.ends_with('/') { "5" } else { "0" });
    put(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// A tar of these files.
pub(crate) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, data) in files {
        out.extend_from_slice(&header(name, data.len() as u64));
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.resize(out.len() + 1024, 0);
    out
}

/// An image to be loaded.
pub(crate) struct TestImage {
    /// The archive.
    pub(crate) archive: Vec<u8>,
    /// The image's ID.
    pub(crate) id: String,
}

/// An archive of one image with one layer for each list of files.
pub(crate) fn image(tags: &[&str], created: &str, labels: &Value, layers: &[&[(&str, &[u8])]]) -> TestImage {
    let layers: Vec<Vec<u8>> = layers.iter().map(|files| tar(files)).collect();
    let diff_ids: Vec<String> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let mut history: Vec<Value> = layers
        .iter()
        .enumerate()
        .map(|(at, _)| json!({"created": created, "created_by": format!("layer {at}")}))
        .collect();
    history.push(json!({"created": created, "created_by": "ENV A=b", "empty_layer": true}));
    let config = json!({
        "created": created,
        "architecture": mica_oci::Platform::host().architecture,
        "os": "linux",
        "config": {"Env": ["A=b"], "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    });
    let config = serde_json::to_vec(&config).unwrap();
    let names: Vec<String> = (0..layers.len()).map(|at| format!("layer{at}.tar")).collect();
    let manifest = json!([{"Config": "config.json", "RepoTags": tags, "Layers": names}]).to_string();
    let mut files: Vec<(&str, &[u8])> = vec![("config.json", &config)];
    files.extend(
        names
            .iter()
            .zip(&layers)
            .map(|(name, layer)| (name.as_str(), layer.as_slice())),
    );
    files.push(("manifest.json", manifest.as_bytes()));
    TestImage {
        archive: tar(&files),
        id: Digest::of(&config).to_string(),
    }
}

/// An image with one small layer.
pub(crate) fn small_image(tags: &[&str]) -> TestImage {
    image(
        tags,
        "2026-01-02T03:04:05Z",
        &json!({"k": "v"}),
        &[&[("a", b"hello")]],
    )
}

/// A program without libraries that waits for ever, for this machine.
pub(crate) fn waiting_program() -> Vec<u8> {
    let (machine, code): (u16, &[u8]) = if cfg!(target_arch = "x86_64") {
        // mov eax, 34 (pause); syscall; jmp back
        (62, &[0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7])
    } else {
        // mov x0..x3, 0; mov x8, 73 (ppoll); svc 0; b back
        (
            183,
            &[
                0, 0, 0x80, 0xd2, 1, 0, 0x80, 0xd2, 2, 0, 0x80, 0xd2, 3, 0, 0x80, 0xd2, 0x28, 9, 0x80, 0xd2,
                1, 0, 0, 0xd4, 0xfa, 0xff, 0xff, 0x17,
            ],
        )
    };
    const HEADERS: u64 = 64 + 56;
    const BASE: u64 = 0x40_0000;
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut put = |bytes: &[u8]| elf.extend_from_slice(bytes);
    put(&2u16.to_le_bytes());
    put(&machine.to_le_bytes());
    put(&1u32.to_le_bytes());
    for number in [BASE + HEADERS, 64, 0] {
        put(&number.to_le_bytes());
    }
    put(&0u32.to_le_bytes());
    for number in [64u16, 56, 1, 0, 0, 0] {
        put(&number.to_le_bytes());
    }
    // one segment, readable and executable
    put(&1u32.to_le_bytes());
    put(&5u32.to_le_bytes());
    let size = HEADERS + code.len() as u64;
    for number in [0, BASE, BASE, size, size, 0x1000] {
        put(&number.to_le_bytes());
    }
    put(code);
    elf
}
