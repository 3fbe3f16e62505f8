//! Writes zip archives field by field, so that tests can set invalid values.

/// An entry as described by its two headers.
#[derive(Clone)]
pub struct Item {
    pub name: Vec<u8>,
    pub data: Vec<u8>,
    pub method: u16,
    pub flags: u16,
    pub crc: u32,
    pub packed: u32,
    pub unpacked: u32,
    pub mode: u32,
    /// Points the directory at the local header of an earlier item instead of writing a new one.
    pub shares_header_of: Option<usize>,
}

impl Item {
    pub fn stored(name: impl Into<Vec<u8>>, data: &[u8]) -> Self {
        Self {
            name: name.into(),
            data: data.to_vec(),
            method: 0,
            flags: 0x800,
            crc: crc32(data),
            packed: data.len() as u32,
            unpacked: data.len() as u32,
            mode: 0o100_644,
            shares_header_of: None,
        }
    }

    pub fn with_mode(mut self, mode: u32) -> Self {
        self.mode = mode;
        self
    }
}

/// An archive of these items that declares `declared` entries.
pub fn archive_declaring(items: &[Item], declared: u16) -> Vec<u8> {
    let mut zip = Vec::new();
    let mut headers: Vec<u32> = Vec::new();
    for item in items {
        if let Some(other) = item.shares_header_of {
            headers.push(headers[other]);
            continue;
        }
        headers.push(zip.len() as u32);
        zip.extend(b"PK\x03\x04");
        common_fields(&mut zip, item);
        zip.extend(&item.name);
        zip.extend(&item.data);
    }
    let directory = zip.len() as u32;
    for (item, header) in items.iter().zip(&headers) {
        zip.extend(b"PK\x01\x02");
        put16(&mut zip, &[0x031e]);
        common_fields(&mut zip, item);
        put16(&mut zip, &[0, 0, 0]);
        put32(&mut zip, &[item.mode << 16, *header]);
        zip.extend(&item.name);
    }
    let size = zip.len() as u32 - directory;
    zip.extend(b"PK\x05\x06");
    put16(&mut zip, &[0, 0, declared, declared]);
    put32(&mut zip, &[size, directory]);
    put16(&mut zip, &[0]);
    zip
}

pub fn archive(items: &[Item]) -> Vec<u8> {
    archive_declaring(items, items.len() as u16)
}

/// The fields common to both headers: from "version needed" to "length of the extra field".
fn common_fields(zip: &mut Vec<u8>, item: &Item) {
    put16(zip, &[20, item.flags, item.method, 0, 0x21]);
    put32(zip, &[item.crc, item.packed, item.unpacked]);
    put16(zip, &[item.name.len() as u16, 0]);
}

fn put16(zip: &mut Vec<u8>, values: &[u16]) {
    zip.extend(values.iter().flat_map(|v| v.to_le_bytes()));
}

fn put32(zip: &mut Vec<u8>, values: &[u32]) {
    zip.extend(values.iter().flat_map(|v| v.to_le_bytes()));
}

fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
