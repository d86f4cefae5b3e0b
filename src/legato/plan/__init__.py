"""What machines that are not here would do, from the op table and their data sheets."""
