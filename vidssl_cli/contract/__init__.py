"""What plugins and the program share: values, interfaces, and how plugins are found."""
