//! Finds numbers in a checkpoint that no run produces: floats that are not finite, and counts so
//! large that adding to them could wrap.
//!
//! [`Checkpoint::check`](super::checkpoint::Checkpoint) checks the shape of each part. This module
//! checks every number, by a serializer that visits all fields and writes nothing.

use std::fmt;

use serde::ser::{self, Serialize, Serializer};

/// Fields whose floats may be NaN or infinite: a cell that holds such a number, or a place if there
/// is no number yet.
const MAY_BE_ENDLESS: [&str; 3] = ["cells", "extent", "last_number"];
/// Fields whose integers are not counts: hashes and seeds, and options without an upper limit.
const NO_COUNTS: [&str; 5] = ["every", "hash", "length", "seed", "unfair"];

/// Every count is below this limit, when read and when written. So sums of thousands of counts do
/// not wrap, and a written state can be read.
const LIMIT: u64 = 1 << 48;

/// Returns the field of the first number that no run produces.
pub(super) fn first_odd(state: &impl Serialize) -> Option<&'static str> {
    let mut walk = Walk { field: "state" };
    state.serialize(&mut walk).err().map(|Odd(field)| field)
}

/// The field of an implausible number.
#[derive(Debug)]
struct Odd(&'static str);

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Odd {}

impl ser::Error for Odd {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self("state")
    }
}

/// Visits a state, and tracks the current field.
struct Walk {
    field: &'static str,
}

impl Walk {
    fn float(&self, is_finite: bool) -> Result<(), Odd> {
        if is_finite || MAY_BE_ENDLESS.contains(&self.field) { Ok(()) } else { Err(Odd(self.field)) }
    }

    fn count(&self, is_below: bool) -> Result<(), Odd> {
        if is_below || NO_COUNTS.contains(&self.field) { Ok(()) } else { Err(Odd(self.field)) }
    }

    fn within<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Result<(), Odd> {
        let outer = std::mem::replace(&mut self.field, field);
        value.serialize(&mut *self)?;
        self.field = outer;
        Ok(())
    }
}

/// Accepts a value of these types without a check.
macro_rules! pass {
    ($($name:ident: $type:ty),*) => {
        $(fn $name(self, _: $type) -> Result<(), Odd> {
            Ok(())
        })*
    };
}

impl Serializer for &mut Walk {
    type Ok = ();
    type Error = Odd;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    pass!(serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);
    // There are no 128-bit counts, only states of random generators.
    pass!(serialize_u128: u128, serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_char: char, serialize_str: &str);
    pass!(serialize_bytes: &[u8], serialize_unit_struct: &'static str);

    fn serialize_u64(self, value: u64) -> Result<(), Odd> {
        self.count(value < LIMIT)
    }

    fn serialize_f32(self, value: f32) -> Result<(), Odd> {
        self.float(value.is_finite())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Odd> {
        self.float(value.is_finite())
    }

    fn serialize_none(self) -> Result<(), Odd> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Odd> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Odd> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Odd> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Odd> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Odd> {
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Odd> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Odd> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Odd> {
        Ok(self)
    }

    fn serialize_tuple_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Self, Odd> {
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Odd> {
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Odd> {
        Ok(self)
    }

    fn serialize_struct_variant(self, _: &'static str, _: u32, _: &'static str, _: usize) -> Result<Self, Odd> {
        Ok(self)
    }
}

/// Sequences and similar types: each element is checked, in the same field.
macro_rules! elements {
    ($($part:ident: $method:ident),*) => {
        $(impl ser::$part for &mut Walk {
            type Ok = ();
            type Error = Odd;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Odd> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Odd> {
                Ok(())
            }
        })*
    };
}

elements!(SerializeSeq: serialize_element, SerializeTuple: serialize_element, SerializeTupleStruct: serialize_field);
elements!(SerializeTupleVariant: serialize_field);

/// Structs: each field is checked under its own name.
macro_rules! fields {
    ($($part:ident),*) => {
        $(impl ser::$part for &mut Walk {
            type Ok = ();
            type Error = Odd;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, field: &'static str, value: &T) -> Result<(), Odd> {
                self.within(field, value)
            }

            fn end(self) -> Result<(), Odd> {
                Ok(())
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for &mut Walk {
    type Ok = ();
    type Error = Odd;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Odd> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Odd> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Odd> {
        Ok(())
    }
}
