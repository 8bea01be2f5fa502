"""Requests in lines of JSON, and answers in lines of JSON: what `triptych batch` does."""
