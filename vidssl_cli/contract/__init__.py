"""What plugins and the program agree on: values, interfaces, and how plugins are found."""
