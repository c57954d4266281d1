//! The text of a file, plain or gzip as its first bytes indicate.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::GzDecoder;

use crate::error::Error;
use crate::rows::input::peek;

/// Size in bytes of the buffer in front of the decompressor.
const COMPRESSED_BUFFER_BYTES: usize = 1 << 16;

/// Advice for a table among text files: either the first file was text, or the build cannot read
/// tables.
const NO_TABLES: &str = if cfg!(feature = "parquet") {
    "name files of one format"
} else {
    "export it as CSV, or build with the feature parquet"
};

/// Formats that people often pass by mistake: first bytes, name, what to do.
const FOREIGN: [(&[u8], &str, &str); 14] = [
    (b"PK\x03\x04", "a zip archive (or a spreadsheet)", "unzip it, or export the sheet as CSV"),
    (b"\x28\xb5\x2f\xfd", "zstd compression", "decompress it, for example: zstd -dc FILE | feamoe ... -"),
    (b"BZh", "bzip2 compression", "decompress it, for example: bzip2 -dc FILE | feamoe ... -"),
    (b"\xfd7zXZ", "xz compression", "decompress it, for example: xz -dc FILE | feamoe ... -"),
    (b"PAR1", "a Parquet file", NO_TABLES),
    (b"ARROW1", "an Arrow file", NO_TABLES),
    (b"\xff\xff\xff\xff", "an Arrow stream", NO_TABLES),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet file", "export the sheet as CSV"),
    (b"{\"", "JSON", JSON_HELP),
    (b"{ ", "JSON", JSON_HELP),
    (b"{\n", "JSON", JSON_HELP),
    (b"[{", "JSON", JSON_HELP),
    (b"\xff\xfe", "UTF-16 text", "convert it, for example: iconv -f UTF-16 -t UTF-8 FILE"),
    (b"\xfe\xff", "UTF-16 text", "convert it, for example: iconv -f UTF-16 -t UTF-8 FILE"),
];

const JSON_HELP: &str = "convert it, for example: \
    duckdb -c \"copy (from read_json_auto('FILE')) to 'FILE.csv'\", or pandas.read_json(FILE, lines=True).to_csv(...)";

const GZIP: &[u8] = b"\x1f\x8b";

const UTF8_BOM: &[u8] = b"\xef\xbb\xbf";

/// Detects the format from the first bytes of `raw`. Returns the text inside: decompressed, without
/// a byte order mark.
pub(crate) fn text_of(mut raw: Box<dyn Read + Send>, file: &str) -> Result<Box<dyn Read + Send>, Error> {
    let head = peek(&mut raw).map_err(|source| Error::Read { file: file.into(), source })?;
    if head.starts_with(GZIP) {
        let compressed = BufReader::with_capacity(COMPRESSED_BUFFER_BYTES, io::Cursor::new(head).chain(raw));
        let mut text: Box<dyn Read + Send> = Box::new(Members { current: Some(GzDecoder::new(compressed)) });
        let head = peek(&mut text).map_err(|error| read_error(error, file, 1))?;
        return without_mark(head, text, file);
    }
    without_mark(head, raw, file)
}

/// Reads the members of a gzip file one after the other. Zeros after the last are padding, from
/// tapes and block devices.
struct Members<R: BufRead> {
    /// `None` after the last member.
    current: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.current {
            let length = member.read(buffer)?;
            if length > 0 || buffer.is_empty() {
                return Ok(length);
            }
            let Some(mut rest) = self.current.take().map(GzDecoder::into_inner) else { break };
            let is_more = loop {
                let bytes = rest.fill_buf()?;
                let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                match (bytes.is_empty(), zeros < bytes.len()) {
                    (true, _) => break false,
                    (_, true) => {
                        rest.consume(zeros);
                        break true;
                    }
                    (_, false) => rest.consume(zeros),
                }
            };
            if is_more {
                self.current = Some(GzDecoder::new(rest));
            }
        }
        Ok(0)
    }
}

fn without_mark(mut head: Vec<u8>, rest: Box<dyn Read + Send>, file: &str) -> Result<Box<dyn Read + Send>, Error> {
    if let Some(&(_, found, help)) = FOREIGN.iter().find(|(magic, ..)| head.starts_with(magic)) {
        return Err(Error::NotText { file: file.into(), line: 1, found, help });
    }
    if head.starts_with(UTF8_BOM) {
        head.drain(..UTF8_BOM.len());
    }
    Ok(Box::new(io::Cursor::new(head).chain(rest)))
}

/// Distinguishes a broken gzip stream (an error of the decoder, without a system error code) from a
/// failing device.
pub(crate) fn read_error(source: io::Error, file: &str, line: u64) -> Error {
    let problem = match source.kind() {
        io::ErrorKind::UnexpectedEof => "ends too early".to_string(),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData if source.raw_os_error().is_none() => {
            format!("is damaged ({source})")
        }
        _ => return Error::Read { file: file.into(), source },
    };
    Error::Gzip { file: file.into(), line, problem }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    /// A pipe that returns one byte at a time.
    struct Drip(io::Cursor<Vec<u8>>);

    impl Read for Drip {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let one = buffer.len().min(1);
            self.0.read(&mut buffer[..one])
        }
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: Vec<u8>) -> Result<String, Error> {
        let mut text = String::new();
        let mut reader = text_of(Box::new(Drip(io::Cursor::new(bytes))), "f")?;
        reader.read_to_string(&mut text).map_err(|error| read_error(error, "f", 1))?;
        Ok(text)
    }

    #[test]
    fn plain_gzip_and_joined_gzip_give_the_same_text() {
        assert_eq!(read(b"a,b\n1,2\n".to_vec()).unwrap(), "a,b\n1,2\n");
        assert_eq!(read(gzip(b"a,b\n1,2\n")).unwrap(), "a,b\n1,2\n");
        let joined = [gzip(b"a,b\n"), gzip(b"1,2\n")].concat();
        assert_eq!(read(joined).unwrap(), "a,b\n1,2\n");
    }

    #[test]
    fn zeros_after_a_gzip_file_are_padding_and_anything_else_is_an_error() {
        for padding in [1, 511, 70_000] {
            let padded = [gzip(b"a,b\n"), vec![0; padding]].concat();
            assert_eq!(read(padded.clone()).unwrap(), "a,b\n");
            assert_eq!(read([padded.clone(), gzip(b"1,2\n")].concat()).unwrap(), "a,b\n1,2\n");
            assert!(matches!(read([&padded[..], b"more"].concat()).unwrap_err(), Error::Gzip { .. }));
        }
    }

    #[test]
    fn a_byte_order_mark_is_dropped_inside_gzip_too() {
        assert_eq!(read(b"\xef\xbb\xbfa\n".to_vec()).unwrap(), "a\n");
        assert_eq!(read(gzip(b"\xef\xbb\xbfa\n")).unwrap(), "a\n");
        assert_eq!(read(b"".to_vec()).unwrap(), "");
    }

    #[test]
    fn every_truncation_of_a_gzip_file_is_an_error() {
        let whole = gzip(b"a,b\n1,2\n3,4\n");
        for length in 2..whole.len() {
            let error = read(whole[..length].to_vec()).unwrap_err();
            assert!(matches!(&error, Error::Gzip { problem, .. } if problem == "ends too early"), "{length}: {error}");
        }
    }

    #[test]
    fn a_flipped_byte_in_the_checksum_is_an_error() {
        let mut bytes = gzip(b"a,b\n1,2\n");
        let last = bytes.len() - 6;
        bytes[last] ^= 1;
        assert!(matches!(read(bytes).unwrap_err(), Error::Gzip { .. }));
    }

    #[test]
    fn foreign_formats_are_named() {
        let message = read(b"PK\x03\x04....".to_vec()).unwrap_err().to_string();
        assert!(message.contains("a zip archive") && message.contains("unzip it"), "{message}");
        // Inside gzip, a Parquet file cannot be read from its end.
        let message = read(gzip(b"PAR1....")).unwrap_err().to_string();
        assert!(message.contains("a Parquet file"), "{message}");
    }
}
