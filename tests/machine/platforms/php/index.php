<?php
require __DIR__ . '/vendor/autoload.php';

header('Content-Type: text/plain');
echo (new Shop\Echoing(__DIR__))->answer($_SERVER, file_get_contents('php://input'));
