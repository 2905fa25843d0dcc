//! Layers: files as a gzipped tar. Pure.
//!
//! The gzip stream holds its content as it is: a compressor's output changes with its version, and
//! with it every digest. To every client it is gzip all the same.

/// Files at their paths (below 100 bytes) as a POSIX tar; owner root, time zero.
pub(super) fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, content) in files {
        archive.extend(header(path, content.len()));
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    // Two empty records end an archive.
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn header(path: &str, size: usize) -> Vec<u8> {
    debug_assert!(
        path.len() < 100,
        "a longer path needs a prefix field: {path}"
    );
    let mut header = Vec::with_capacity(512);
    let mut field = |text: &str, width: usize| {
        header.extend(text.bytes().chain(std::iter::repeat(0)).take(width));
    };
    field(path, 100);
    field("0000644", 8);
    field("0000000", 8);
    field("0000000", 8);
    field(&format!("{size:011o}"), 12);
    field("00000000000", 12);
    // The checksum is taken with its own field full of spaces.
    field("        ", 8);
    field("0", 1);
    field("", 100);
    field("ustar", 6);
    field("00", 2);
    field("", 512 - 265);
    let sum: u32 = header.iter().copied().map(u32::from).sum();
    header.splice(148..156, format!("{sum:06o}\0 ").bytes());
    header
}

/// A gzip member (RFC 1952) of stored blocks (RFC 1951, 3.2.4).
pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut stream = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    let mut blocks = content.chunks(usize::from(u16::MAX)).peekable();
    if blocks.peek().is_none() {
        stream.extend([1, 0, 0, 0xff, 0xff]);
    }
    while let Some(block) = blocks.next() {
        let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
        stream.push(u8::from(blocks.peek().is_none()));
        stream.extend(length.to_le_bytes());
        stream.extend((!length).to_le_bytes());
        stream.extend_from_slice(block);
    }
    stream.extend(crc32(content).to_le_bytes());
    // The length modulo 2^32, by the RFC.
    stream.extend(content.len().to_le_bytes().iter().take(4));
    stream
}

fn crc32(content: &[u8]) -> u32 {
    !content.iter().fold(!0, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        CRC_TABLE
            .get(usize::from(low ^ byte))
            .copied()
            .unwrap_or_default()
            ^ (crc >> 8)
    })
}

static CRC_TABLE: [u32; 256] = crc_table();

#[expect(
    clippy::indexing_slicing,
    reason = "in a constant, an index out of bounds does not compile"
)]
const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let (mut index, mut start) = (0, 0);
    while index < table.len() {
        let mut crc: u32 = start;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                0xedb8_8320 ^ (crc >> 1)
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[index] = crc;
        index += 1;
        start += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(gzip(b"").len(), 10 + 5 + 8);
    }

    #[test]
    fn tar_and_gzip_read_it_back() {
        let large = vec![b'x'; 70_000];
        let layer = gzip(&tar(&[("etc/motd", b"hello\n"), ("srv/large", &large)]));
        let mut child = Command::new("tar")
            .args(["-xzOf", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(&layer));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        assert!(output.status.success());
        assert_eq!(output.stdout, [b"hello\n".as_slice(), &large].concat());
    }
}
